"""`overlayfs-py image prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Remove images that no name means, with --all every image that is not mounted.

What no image needs any more goes, too, unfinished downloads among it.

\b
Examples:
  overlayfs-py image prune
  overlayfs-py image prune --all --force
"""


@click.command("prune", help=_HELP)
@root_option
@click.option("-a", "--all", "tagged", is_flag=True, help="Those that have a name, too.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
def command(root: Path | None, *, tagged: bool, force: bool) -> None:
    from overlayfs_py.image.reference import parse_reference
    from overlayfs_py.image.units import human_size

    what = "images that are not mounted" if tagged else "images without a name"
    if not force and not click.confirm(f"This removes all {what}. Go on?", default=False):
        return
    removal = open_store(root).prune(tagged=tagged)
    if removal.untagged or removal.deleted:
        click.echo("Deleted Images:")
        for text in removal.untagged:
            click.echo(f"untagged: {parse_reference(text).familiar}")
        for digest in removal.deleted:
            click.echo(f"deleted: {digest}")
        click.echo()
    click.echo(f"Total reclaimed space: {human_size(removal.freed_bytes)}")
