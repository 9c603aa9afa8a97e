"""Rows of values in docker's formats: `table ...`, `json`, or a template for each row.

Source: docker/cli, cli/command/formatter/formatter.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.image.columns import align
from overlayfs_py.late_import import LateModule, late_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from overlayfs_py.image import template_rows
else:
    # Templates take a third of the start of `image ls`, whose own tables need none.
    template_rows = LateModule("overlayfs_py.image.template_rows")

_TABLE, _JSON = "table", "json"
_FIELD = late_pattern(r"\{\{\.([A-Za-z]+)\}\}", re.ASCII)


class Columns(NamedTuple):
    """What a kind of row has: names, and how each is called at the top of a table."""

    go_name: str  # of the type, in messages
    headers: Mapping[str, str]


def format_rows(form: str, columns: Columns, rows: Iterable[Mapping[str, str]]) -> str:
    """Return the rows as `form` says, each with its newline.

    Raises:
        TemplateError: the template is none, or asks for what no row has.
    """
    is_table = form.startswith(_TABLE)
    text = "{{json .}}" if form == _JSON else form.removeprefix(_TABLE) if is_table else form
    text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    names = _plain_fields(text, columns)
    if names is None:
        shown = template_rows.render(text, columns, rows, with_head=is_table)
    else:
        head = [columns.headers] if is_table else []
        shown = "".join("\t".join(cells[name] for name in names) + "\n" for cells in (*head, *rows))
    return align(shown) if is_table else shown


def _plain_fields(text: str, columns: Columns) -> list[str] | None:
    """Return the names of the fields that are all the template asks for, tabs between them."""
    found = [_FIELD.fullmatch(part) for part in text.split("\t")]
    names = [match[1] for match in found if match is not None]
    if len(names) < len(found) or not set(names) <= columns.headers.keys():
        return None
    return names
