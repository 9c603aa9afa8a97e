"""The functions that every template has (text/template, funcs.go)."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from overlayfs_py.image.templates import printing
from overlayfs_py.image.templates.bytes_text import is_printable, to_bytes, to_text
from overlayfs_py.image.templates.comparison import equals_any, less
from overlayfs_py.image.templates.errors import FunctionError, NotCallable
from overlayfs_py.image.templates.formatting import sprintf
from overlayfs_py.image.templates.values import (
    ANY,
    REFLECTED,
    STRING,
    UINT8,
    Bool,
    Function,
    Integer,
    Map,
    Slice,
    Text,
    Value,
    held,
    indirect,
    truth,
    zero,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HTML = str.maketrans(
    {'"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;", "\0": "\ufffd"}
)
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"'}
_JS_SPECIAL = re.compile(r"""[\\'"<>&=\x00-\x1f\x80-\U0010ffff]""")


def _index(arguments: Sequence[Value | None]) -> Value | None:
    item = held(arguments[0])
    if item is None:
        raise FunctionError("index of untyped nil")
    for argument in arguments[1:]:
        inside, nil = indirect(item)
        if nil:
            raise FunctionError("index of nil pointer")
        item = _item(inside, held(argument))
    return item


def _item(collection: Value | None, index: Value | None) -> Value | None:
    match collection:
        case Text(value=text):
            data = to_bytes(text)
            return Integer(_octet(data, _position(index, len(data))), UINT8)
        case Slice(items=items):
            at = _position(index, len(collection))
            if items is None or at == len(items):
                # Go's reflect panics with this text, and the template ends with it.
                raise FunctionError("reflect: slice index out of range")
            return items[at]
        case Map(entries=entries, type=type_):
            key = _key(index)
            assert type_.element is not None
            found = (entries or {}).get(key)
            return zero(type_.element) if found is None else found
        case _:
            assert collection is not None
            raise FunctionError(f"can't index item of type {collection.type}")


def _octet(data: bytes, at: int) -> int:
    if at == len(data):
        raise FunctionError("reflect: string index out of range")
    return data[at]


def _position(index: Value | None, limit: int) -> int:
    if index is None:
        raise FunctionError("cannot index slice/array with nil")
    if not isinstance(index, Integer):
        raise FunctionError(f"cannot index slice/array with type {index.type}")
    if not 0 <= index.value <= limit:
        raise FunctionError(f"index out of range: {index.value}")
    return index.value


def _key(index: Value | None) -> str:
    if index is None:
        raise FunctionError("value is nil; should be of type string")
    if not isinstance(index, Text) or index.type != STRING:
        raise FunctionError(f"value has type {index.type}; should be string")
    return index.value


def _slice(arguments: Sequence[Value | None]) -> Value:
    item = held(arguments[0])
    if item is None:
        raise FunctionError("slice of untyped nil")
    item, nil = indirect(item)
    indexes = arguments[1:]
    if nil:
        raise FunctionError("slice of nil pointer")
    if len(indexes) > 3:
        raise FunctionError(f"too many slice indexes: {len(indexes)}")
    match item:
        case Text(value=text):
            if len(indexes) == 3:
                raise FunctionError("cannot 3-index slice a string")
            data = to_bytes(text)
            start, end = _bounds(indexes, len(data))
            return Text(to_text(data[start:end]), item.type)
        case Slice(items=items):
            start, end = _bounds(indexes, len(item))
            return Slice(None if items is None else items[start:end], item.type)
        case _:
            assert item is not None
            raise FunctionError(f"can't slice item of type {item.type}")


def _bounds(indexes: Sequence[Value | None], length: int) -> tuple[int, int]:
    # Go looks into interfaces here only for what is sliced.
    positions = [_position(index, length) for index in indexes]
    bounds = [*positions, *[0, length, length][len(positions) :]]
    for one, two in pairwise(bounds):
        if one > two:
            raise FunctionError(f"invalid slice index: {one} > {two}")
    return bounds[0], bounds[1]


def _len(arguments: Sequence[Value | None]) -> Value:
    item, nil = indirect(arguments[0])
    if nil:
        raise FunctionError("len of nil pointer")
    match item:
        case Text(value=text):
            return Integer(len(to_bytes(text)))
        case Slice() | Map():
            return Integer(len(item))
        case None:
            raise FunctionError("reflect: call of reflect.Value.Type on zero Value")
        case _:
            raise FunctionError(f"len of type {item.type}")


def _call(arguments: Sequence[Value | None]) -> Value | None:
    function = held(arguments[0])
    if function is None:
        raise FunctionError("call of nil")
    # No value of ours is a function, so this is the end of every call.
    raise NotCallable(str(function.type))


def _text_of(arguments: Sequence[Value | None]) -> str:
    return printing.sprint([printing.printable(argument) for argument in arguments])


def _js(text: str) -> str:
    return _JS_SPECIAL.sub(lambda match: _js_escaped(match.group()), text)


def _js_escaped(character: str) -> str:
    if character in _JS:
        return _JS[character]
    if "\ud800" <= character <= "\udfff":
        return "\ufffd"
    if character >= "\x80" and is_printable(character):
        return character
    return f"\\u{ord(character):04X}"


def _less_or_equal(one: Value | None, two: Value | None) -> bool:
    return less(one, two) or equals_any(one, [two])


def _format(arguments: Sequence[Value | None]) -> str:
    pattern = arguments[0]
    assert isinstance(pattern, Text)
    return sprintf(pattern.value, arguments[1:])


def textual(function: Callable[[Sequence[Value | None]], str]) -> Callable[..., Value]:
    """A function whose text is the value."""
    return lambda arguments: Text(function(arguments))


def _logical(function: Callable[[Sequence[Value | None]], bool]) -> Callable[..., Value]:
    return lambda arguments: Bool(function(arguments))


def _first_deciding(arguments: Sequence[Value | None], *, wanted: bool) -> Value | None:
    return next((value for value in arguments if truth(value) is wanted), arguments[-1])


_ONE, _TWO, _SOME = (REFLECTED,), (REFLECTED, REFLECTED), (REFLECTED, REFLECTED)
_ANYTHING = (ANY,)

BUILTINS = {
    function.name: function
    for function in (
        Function("and", _SOME, lambda a: _first_deciding(a, wanted=False), variadic=True),
        Function("or", _SOME, lambda a: _first_deciding(a, wanted=True), variadic=True),
        Function("not", _ONE, _logical(lambda a: not truth(a[0]))),
        Function("eq", _SOME, _logical(lambda a: equals_any(a[0], a[1:])), variadic=True),
        Function("ne", _TWO, _logical(lambda a: not equals_any(a[0], a[1:]))),
        Function("lt", _TWO, _logical(lambda a: less(a[0], a[1]))),
        Function("le", _TWO, _logical(lambda a: _less_or_equal(a[0], a[1]))),
        Function("gt", _TWO, _logical(lambda a: not _less_or_equal(a[0], a[1]))),
        Function("ge", _TWO, _logical(lambda a: not less(a[0], a[1]))),
        Function("index", _SOME, _index, variadic=True),
        Function("slice", _SOME, _slice, variadic=True),
        Function("len", _ONE, _len),
        Function("call", _SOME, _call, variadic=True),
        Function("print", _ANYTHING, textual(printing.sprint), variadic=True),
        Function("println", _ANYTHING, textual(printing.sprintln), variadic=True),
        Function("printf", (STRING, ANY), textual(_format), variadic=True),
        Function("html", _ANYTHING, textual(lambda a: _text_of(a).translate(_HTML)), variadic=True),
        Function("js", _ANYTHING, textual(lambda a: _js(_text_of(a))), variadic=True),
        Function(
            "urlquery",
            _ANYTHING,
            textual(lambda a: quote_plus(to_bytes(_text_of(a)), safe="~")),
            variadic=True,
        ),
    )
}
