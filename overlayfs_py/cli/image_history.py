"""`overlayfs-py image history`, also `history`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Show how an image was made, the last step first.

SIZE is what the files of the step's layer add up to.

\b
--format takes `json` (an object per line), a Go template, or `table` before one. Fields:
  .ID .CreatedSince .CreatedAt .CreatedBy .Size .Comment

\b
Examples:
  overlayfs-py image history debian:12
  overlayfs-py history --no-trunc --format '{{.Size}}\\t{{.CreatedBy}}' debian:12
"""


@click.command("history", help=_HELP)
@root_option
@click.option("-H", "--human/--no-human", default=True, help="Sizes and times for people.")
@click.option("--no-trunc", is_flag=True, help="Print whole commands and IDs.")
@click.option("-q", "--quiet", is_flag=True, help="Print IDs only.")
@click.option("--format", "form", help="json, a Go template, or a table of one.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.argument("image", type=IMAGE)
def command(
    root: Path | None,
    image: str,
    form: str | None,
    *,
    human: bool,
    no_trunc: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from overlayfs_py.image import history
    from overlayfs_py.image.tables import format_rows

    found = open_store(root, to_find=image).image(image)
    rows = history.history_rows(
        found.config,
        [layer.record.files_size for layer in found.layers],
        time.time_ns(),
        human=human,
        shorten=not no_trunc,
    )
    table = history.TABLE if human else history.EXACT_TABLE
    # As docker: a template counts more than -q.
    table = history.IDS if quiet else table
    form = "json" if as_json else {None: table, "table": table}.get(form, form)
    click.echo(format_rows(form or table, history.COLUMNS, rows), nl=False)
