"""Rows of values in docker's formats: `table ...`, `json`, or a template for each row.

Source: docker/cli, cli/command/formatter/formatter.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.image.columns import align
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

_TABLE, _JSON = "table", "json"


@dataclass(frozen=True, slots=True)
class Columns:
    """What a kind of row has: names, and how each is called at the top of a table."""

    type: Type
    headers: Mapping[str, str]

    @classmethod
    def named(cls, go_name: str, headers: Mapping[str, str]) -> Columns:
        """The columns, in the order of their names, as JSON has them; messages say `go_name`."""
        fields = tuple(Field(name, STRING, name) for name in sorted(headers))
        return cls(Type(Kind.STRUCT, go_name, fields=fields), headers)

    def row(self, cells: Mapping[str, str]) -> Value:
        """A row for a template."""
        values = tuple(Text(cells[field.name]) for field in self.type.fields)
        return Pointer(Struct(values, self.type), pointer_to(self.type))


def format_rows(form: str, columns: Columns, rows: Iterable[Mapping[str, str]]) -> str:
    """Return the rows as `form` says, each with its newline.

    Raises:
        TemplateError: the template is none, or asks for what no row has.
    """
    is_table = form.startswith(_TABLE)
    text = "{{json .}}" if form == _JSON else form.removeprefix(_TABLE) if is_table else form
    text = text.strip(" ").replace("\\t", "\t").replace("\\n", "\n")
    template = parse_template(text)
    body = "".join(f"{template.execute(columns.row(cells))}\n" for cells in rows)
    if not is_table:
        return body
    entries = {name: Text(header) for name, header in columns.headers.items()}
    header = template.using(HEADER_FUNCTIONS).execute(Map(entries, map_of(STRING)))
    return align(f"{header}\n{body}")


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
