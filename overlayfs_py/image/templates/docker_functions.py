"""The functions that docker adds: json split join title lower upper pad truncate.

Source: docker/cli, templates/templates.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.templates import printing
from overlayfs_py.image.templates.bytes_text import to_bytes, to_text
from overlayfs_py.image.templates.encoding import marshal
from overlayfs_py.image.templates.errors import FunctionError
from overlayfs_py.image.templates.functions import BUILTINS, textual
from overlayfs_py.image.templates.values import (
    ANY,
    INT,
    STRING,
    Function,
    Integer,
    Map,
    Slice,
    Text,
    Value,
    key_order,
    slice_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_SPACES = 1_000_000  # as many as printf's widest field


def _json(arguments: Sequence[Value | None]) -> str:
    return marshal(arguments[0])


def _split(arguments: Sequence[Value | None]) -> Value:
    text, separator = map(_text, arguments)
    # Go cuts between characters where Python refuses.
    parts = text.split(separator) if separator else list(text)
    return Slice(tuple(map(Text, parts)), slice_of(STRING))


def _join(arguments: Sequence[Value | None]) -> str:
    items, separator = arguments[0], _text(arguments[1])
    match items:
        case None:
            return ""
        case Slice():
            return separator.join(map(printing.show, items.items or ()))
        case Map():
            # Sorted by what they show, not by their keys: docker keeps an order, any order.
            shown = map(printing.show, (items.entries or {}).values())
            return separator.join(sorted(shown, key=key_order))
        case _:
            raise FunctionError(f"expected slice, got {items.type}")


def _title(arguments: Sequence[Value | None]) -> str:
    """Go's strings.Title: letters, digits, underscores and no others are inside a word."""
    previous_is_word = False
    shown: list[str] = []
    for character in _text(arguments[0]):
        shown.append(character if previous_is_word else _titled(character))
        previous_is_word = _is_inside_word(character)
    return "".join(shown)


def _titled(character: str) -> str:
    title = character.title()
    return title if len(title) == 1 else character


def _is_inside_word(character: str) -> bool:
    if character < "\x80":
        return character.isalnum() or character == "_"
    return character.isalpha() or character.isdecimal() or not character.isspace()


def _pad(arguments: Sequence[Value | None]) -> str:
    text, before, after = _text(arguments[0]), _number(arguments[1]), _number(arguments[2])
    if not text:
        return text
    if min(before, after) < 0:
        raise FunctionError("strings: negative Repeat count")
    if max(before, after) > _MOST_SPACES:
        raise FunctionError(f"more than {_MOST_SPACES} spaces")
    return " " * before + text + " " * after


def _truncate(arguments: Sequence[Value | None]) -> str:
    data, length = to_bytes(_text(arguments[0])), _number(arguments[1])
    if len(data) < length:
        return to_text(data)
    if length < 0:
        raise FunctionError(f"runtime error: slice bounds out of range [:{length}]")
    return to_text(data[:length])


def _upper(text: str) -> str:
    return "".join(upper if len(upper := letter.upper()) == 1 else letter for letter in text)


def _lower(text: str) -> str:
    return "".join(lower if len(lower := letter.lower()) == 1 else letter for letter in text)


def _text(value: Value | None) -> str:
    assert isinstance(value, Text)
    return value.value


def _number(value: Value | None) -> int:
    assert isinstance(value, Integer)
    return value.value


FUNCTIONS = BUILTINS | {
    function.name: function
    for function in (
        Function("json", (ANY,), textual(_json)),
        Function("split", (STRING, STRING), _split),
        Function("join", (ANY, STRING), textual(_join)),
        Function("title", (STRING,), textual(_title)),
        Function("lower", (STRING,), textual(lambda a: _lower(_text(a[0])))),
        Function("upper", (STRING,), textual(lambda a: _upper(_text(a[0])))),
        Function("pad", (STRING, INT, INT), textual(_pad)),
        Function("truncate", (STRING, INT), textual(_truncate)),
    )
}
