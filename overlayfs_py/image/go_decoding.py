"""JSON as Go's encoding/json reads it: a key counts whatever its case, and all text is text.

Docker, podman and every registry are written in Go; images exist that say `rootfS`, and auth files
that say `Auths`. Of two keys that mean the same the last one counts, and what is no text becomes
U+FFFD. Source: encoding/json, decode.go (object, unquoteBytes) and fold.go. One difference: Go
joins the two objects of a key that occurs twice.
"""

from __future__ import annotations

import functools
import types
import typing
from typing import TYPE_CHECKING, TypeVar

import msgspec

from overlayfs_py.late_import import late_pattern

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

Form = TypeVar("Form")


class _Object(msgspec.Struct, frozen=True):
    names: Mapping[str, tuple[str, _Shape]]  # as written in any case, folded: as the form has it


class _Map(msgspec.Struct, frozen=True):
    values: _Shape


class _List(msgspec.Struct, frozen=True):
    items: _Shape


# None: nothing in it has a form's keys.
_Shape = _Object | _Map | _List | None


def decode_json(raw: bytes, form: type[Form]) -> Form:
    """Return the value that `raw` is.

    Raises:
        msgspec.DecodeError, UnicodeError, RecursionError: it is not of this form, or not JSON.
    """
    shape = _shape_of(typing.cast("Hashable", form))
    return msgspec.json.decode(_renamed(_with_text(raw), shape), type=form)


def _with_text(raw: bytes) -> bytes:
    """The same JSON with U+FFFD for what is no text: bytes of no UTF-8, half a surrogate pair."""
    try:
        raw.decode()
    except UnicodeDecodeError:
        raw = raw.decode(errors="replace").encode()
    if b"\\ud" in raw or b"\\uD" in raw:
        raw = _ESCAPE.sub(lambda found: found[0] if found[1] is None else b"\\ufffd", raw)
    return raw


def _renamed(raw: bytes | msgspec.Raw, shape: _Shape) -> bytes:
    """The same JSON with the form's own keys, and without those that the form does not have.

    What has another shape stays as it is: what is wrong with it is found when it is decoded.
    """
    try:
        match shape:
            case _Object(names):
                return _renamed_object(msgspec.json.decode(raw, type=_RAW_MAP), names)
            case _Map(values):
                fields = msgspec.json.decode(raw, type=_RAW_MAP)
                return _object({key: _renamed(value, values) for key, value in fields.items()})
            case _List(items):
                elements = msgspec.json.decode(raw, type=_RAW_LIST)
                return b"[" + b",".join(_renamed(each, items) for each in elements) + b"]"
            case None:
                return bytes(raw)
    except msgspec.ValidationError:
        pass  # another type
    return bytes(raw)


def _renamed_object(
    fields: Mapping[str, msgspec.Raw], names: Mapping[str, tuple[str, _Shape]]
) -> bytes:
    kept = {}
    for key, value in fields.items():
        # The name itself is folded like any other: no form has two that fold to one.
        found = names.get(key.casefold())
        if found is not None:
            kept[found[0]] = _renamed(value, found[1])
    return _object(kept)


def _object(fields: Mapping[str, bytes]) -> bytes:
    members = (msgspec.json.encode(key) + b":" + value for key, value in fields.items())
    return b"{" + b",".join(members) + b"}"


@functools.cache
def _shape_of(form: Hashable) -> _Shape:
    """Where a type has objects whose keys are a form's."""
    origin, arguments = typing.get_origin(form), typing.get_args(form)
    if isinstance(form, type) and issubclass(form, msgspec.Struct):
        fields = msgspec.structs.fields(form)
        return _Object(
            {
                each.encode_name.casefold(): (each.encode_name, _shape_of(each.type))
                for each in fields
            }
        )
    if origin in {types.UnionType, typing.Union}:
        return next((shape for each in arguments if (shape := _shape_of(each))), None)
    if origin is list and (items := _shape_of(arguments[0])):
        return _List(items)
    if origin is dict and (values := _shape_of(arguments[1])):
        return _Map(values)
    return None


# A pair, half a one, or any other escape: the second of two backslashes begins none.
_ESCAPE = late_pattern(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)
_RAW_MAP = dict[str, msgspec.Raw]
_RAW_LIST = list[msgspec.Raw]
