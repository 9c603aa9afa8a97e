"""Rows of values through a Go template, and the head of a table.

Source: docker/cli, cli/command/formatter/formatter.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.templates.docker_functions import FUNCTIONS
from overlayfs_py.image.templates.functions import textual
from overlayfs_py.image.templates.template import parse_template
from overlayfs_py.image.templates.values import (
    INT,
    STRING,
    Field,
    Function,
    Kind,
    Map,
    Pointer,
    Struct,
    Text,
    Type,
    Value,
    map_of,
    pointer_to,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from overlayfs_py.image.tables import Columns


def render(
    text: str, columns: Columns, rows: Iterable[Mapping[str, str]], *, with_head: bool
) -> str:
    """Return the rows as the template `text` says, each with its newline, maybe below a head.

    Raises:
        TemplateError: the template is invalid, or asks for what no row has.
    """
    template = parse_template(text)
    kind = _type_of(columns)
    body = "".join(f"{template.execute(_row(kind, cells))}\n" for cells in rows)
    if not with_head:
        return body
    entries = {name: Text(header) for name, header in columns.headers.items()}
    head = template.using(HEADER_FUNCTIONS).execute(Map(entries, map_of(STRING)))
    return f"{head}\n{body}"


def _type_of(columns: Columns) -> Type:
    """The type of a row; its fields in the order of their names, as JSON has them."""
    fields = tuple(Field(name, STRING, name) for name in sorted(columns.headers))
    return Type(Kind.STRUCT, columns.go_name, fields=fields)


def _row(kind: Type, cells: Mapping[str, str]) -> Value:
    values = tuple(Text(cells[field.name]) for field in kind.fields)
    return Pointer(Struct(values, kind), pointer_to(kind))


def _unchanged(arguments: Sequence[Value | None]) -> str:
    text = arguments[0]
    assert isinstance(text, Text)
    return text.value


# A header is what it is, whatever a column does to its cells.
HEADER_FUNCTIONS = FUNCTIONS | {
    name: Function(name, parameters, textual(_unchanged))
    for name, parameters in {
        "json": (STRING,),
        "title": (STRING,),
        "lower": (STRING,),
        "upper": (STRING,),
        "truncate": (STRING, INT),
        "split": (STRING, STRING),
        "join": (STRING, STRING),
    }.items()
}
