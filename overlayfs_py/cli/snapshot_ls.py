"""`overlayfs-py snapshot ls`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """List what a container can go back to, the oldest first.

SIZE is what was changed since the snapshot below, TOTAL what was changed since the image.

\b
--format takes `json` (an object per line), a Go template, or `table` before one. Fields:
  .Tag .CreatedAt .CreatedSince .Size .Total

\b
Examples:
  overlayfs-py snapshot ls db
  overlayfs-py snapshot ls --format '{{.Tag}}' db
"""


@click.command("ls", help=_HELP)
@root_option
@click.option("-q", "--quiet", is_flag=True, help="Print tags only.")
@click.option("--format", "form", help="json, a Go template, or a table of one.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.argument("container", type=CONTAINER)
def command(
    root: Path | None, container: str, form: str | None, *, quiet: bool, as_json: bool
) -> None:
    from overlayfs_py.containers import snapshot_rows, snapshots
    from overlayfs_py.image.tables import format_rows

    store = open_store(root)
    held = snapshots.listed(store, container_of(store, container))
    table = snapshot_rows.TAGS if quiet else snapshot_rows.TABLE
    form = "json" if as_json else {None: table, "table": table}.get(form, form)
    rows = [snapshot_rows.row(each, time.time_ns()) for each in held]
    click.echo(format_rows(form or table, snapshot_rows.COLUMNS, rows), nl=False)
