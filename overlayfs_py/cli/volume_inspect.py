"""`overlayfs-py volume inspect`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.errors import say
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Show all there is to say of volumes: docker's keys, as JSON or through a Go template.

\b
Examples:
  overlayfs-py volume inspect data
  overlayfs-py volume inspect -f '{{.Mountpoint}}' data
"""


@click.command("inspect", help=_HELP)
@root_option
@click.option("-f", "--format", "form", default="", help="json, or a Go template.")
@click.argument("names", nargs=-1, required=True)
def command(root: Path | None, names: tuple[str, ...], form: str) -> int:
    from overlayfs_py.cli import volume_listing
    from overlayfs_py.image.tables import format_rows
    from overlayfs_py.store.failures import NotInStore

    store, found, code = open_store(root), [], 0
    for name in names:
        try:
            found.append(store.volumes.get(name))
        except NotInStore as error:
            say("overlayfs-py", str(error))
            code = 1
    if form not in {"", "json"}:
        rows = volume_listing.rows(store, found)
        click.echo(format_rows(form, volume_listing.COLUMNS, rows), nl=False)
        return code
    objects = [volume_listing.described(store, each) for each in found]
    click.echo(json.dumps(objects, indent=None if form else 4))
    return code
