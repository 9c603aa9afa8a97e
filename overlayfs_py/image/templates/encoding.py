"""Values to JSON as encoding/json writes them, and JSON to values as it reads them untyped."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from typing import TYPE_CHECKING

from overlayfs_py.image import go_json
from overlayfs_py.image.templates.errors import FunctionError
from overlayfs_py.image.templates.values import (
    ANY,
    JSON_NUMBER,
    UINT8,
    Bool,
    Float,
    Function,
    Integer,
    Interface,
    Map,
    Pointer,
    Slice,
    Struct,
    Text,
    Value,
    map_of,
    slice_of,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.image.go_json import Json


def to_json(value: Value | None) -> Json:
    """The JSON value: nil slices and maps are null, structs keep the order of their fields.

    Raises:
        FunctionError: JSON has no such value.
    """
    match value:
        case None:
            return None
        case Bool(value=truth_value):
            return truth_value
        case Integer(value=number):
            return number
        case Float(value=fraction):
            return _fraction(fraction)
        case Text(value=text, type=type_):
            return json.loads(text) if type_ == JSON_NUMBER else text
        case Slice(items=items, type=type_) if type_.element == UINT8:
            return None if items is None else _base64(items)
        case Slice(items=items):
            return None if items is None else [to_json(item) for item in items]
        case Map(entries=entries):
            return None if entries is None else {k: to_json(item) for k, item in value.sorted()}
        case Struct():
            return _struct_to_json(value)
        case Interface(held=inside) | Pointer(target=inside):
            return to_json(inside)
        case Function():
            raise FunctionError(f"json: unsupported type: {value.type}")


def _base64(items: Sequence[Value]) -> str:
    return b64encode(bytes(item.value for item in items if isinstance(item, Integer))).decode()


def _fraction(number: float) -> Json:
    if not math.isfinite(number):
        raise FunctionError(f"json: unsupported value: {number}")
    return int(number) if number.is_integer() and abs(number) < 1e21 else number


def _struct_to_json(value: Struct) -> Json:
    if value.type.is_text:
        return to_json(value.values[-1])
    named = zip(value.type.fields, value.values, strict=True)
    return {
        field.json_name: to_json(item)
        for field, item in named
        if not field.omit_empty or _is_kept(item)
    }


def _is_kept(value: Value) -> bool:
    """Whether `omitempty` keeps it: all but false, 0, nil and what is empty."""
    return truth(value)


def from_json(value: Json) -> Value:
    """What encoding/json makes of it where no type is given, numbers as they are written."""
    return Interface(_untyped(value))


def _untyped(value: Json) -> Value | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return Bool(value)
    if isinstance(value, int | float):
        return Text(go_json.compact(value), JSON_NUMBER)
    if isinstance(value, str):
        return Text(value)
    if isinstance(value, dict):
        return Map({str(key): from_json(item) for key, item in value.items()}, map_of(ANY))
    assert isinstance(value, list | tuple)
    return Slice(tuple(from_json(item) for item in value), slice_of(ANY))


def marshal(value: Value | None) -> str:
    """One line of JSON in which `<`, `>` and `&` are left as they are, as docker's `json` does."""
    return go_json.compact(to_json(value), escape_html=False)
