"""`overlayfs-py image rm`, also `rmi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.errors import say
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import OverlayError

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Take names away from images, and remove those that have no other.

Layers that other images have stay. An image that is mounted stays, too, until it is not.

\b
Examples:
  overlayfs-py rmi debian:12
  overlayfs-py image rm --force 1f2e3d4c5b6a
"""


@click.command("rm", help=_HELP)
@root_option
@click.option("-f", "--force", is_flag=True, help="By its ID, with all names that it has.")
@click.option("--no-prune", "_no_prune", is_flag=True, help="Accepted for docker; no effect.")
@click.argument("images", nargs=-1, required=True, type=IMAGE)
def command(root: Path | None, images: tuple[str, ...], *, force: bool, _no_prune: bool) -> int:
    from overlayfs_py.image.reference import parse_reference
    from overlayfs_py.store.failures import NotInStore

    code = 0
    for name in images:
        try:
            removed = open_store(root, to_find=name).remove_image(name, force=force)
        except OverlayError as error:
            # As docker: with --force what is not there need not be removed.
            is_gone = force and isinstance(error, NotInStore)
            code = code or (0 if is_gone else error.exit_code)
            say("overlayfs-py", str(error))
            continue
        for text in removed.untagged:
            click.echo(f"Untagged: {parse_reference(text).familiar}")
        for digest in removed.deleted:
            click.echo(f"Deleted: {digest}")
    return code
