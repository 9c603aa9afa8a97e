"""`overlayfs-py snapshot rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.errors import say
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.errors import OverlayError

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Remove snapshots of a container.

What it holds goes with it, unless the container itself, a later snapshot or a branch lies on it.

\b
Examples:
  overlayfs-py snapshot rm db migrated
"""


@click.command("rm", help=_HELP)
@root_option
@click.argument("container", type=CONTAINER)
@click.argument("tags", nargs=-1, required=True, metavar="TAG...")
def command(root: Path | None, container: str, tags: tuple[str, ...]) -> int:
    from overlayfs_py.containers import snapshots

    store, code = open_store(root), 0
    record = container_of(store, container)
    for tag in tags:
        try:
            snapshots.remove(store, record, tag)
        except OverlayError as error:
            say("overlayfs-py", str(error))
            code = 1
        else:
            click.echo(tag)
    return code
