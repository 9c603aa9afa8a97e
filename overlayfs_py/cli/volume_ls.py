"""`overlayfs-py volume ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """List volumes, by name.

\b
--format takes `json` (an object per line), a Go template, or `table` before one. Fields:
  .Driver .Name .Scope .Mountpoint .Labels
Filters: name= label=KEY[=VALUE] label!= dangling=true|false driver=

\b
Examples:
  overlayfs-py volume ls -q
  overlayfs-py volume ls --filter dangling=true
"""
_FILTERS = ("name", "label", "label!", "dangling", "driver")


@click.command("ls", help=_HELP)
@root_option
@click.option("-q", "--quiet", is_flag=True, help="Print names only.")
@click.option("-f", "--filter", "filters", multiple=True, help="Those alone that fit.")
@click.option("--format", "form", help="json, a Go template, or a table of one.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
def command(
    root: Path | None, filters: tuple[str, ...], form: str | None, *, quiet: bool, as_json: bool
) -> None:
    from overlayfs_py.cli import volume_listing
    from overlayfs_py.image.tables import format_rows

    store = open_store(root)
    fits = volume_listing.fitting(store, filters, _FILTERS)
    table = volume_listing.NAMES if quiet else volume_listing.TABLE
    form = "json" if as_json else {None: table, "table": table}.get(form, form)
    rows = volume_listing.rows(store, [each for each in store.volumes.all() if fits(each)])
    click.echo(format_rows(form or table, volume_listing.COLUMNS, rows), nl=False)
