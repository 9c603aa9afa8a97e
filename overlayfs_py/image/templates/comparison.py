"""eq, ne, lt, le, gt, ge (text/template, funcs.go): what may be compared with what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.templates.errors import FunctionError
from overlayfs_py.image.templates.printing import show
from overlayfs_py.image.templates.values import (
    Bool,
    Float,
    Function,
    Integer,
    Interface,
    Kind,
    Map,
    Pointer,
    Slice,
    Struct,
    Text,
    Value,
    held,
    is_nil,
    key_order,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_BASIC = frozenset({Kind.BOOL, Kind.INT, Kind.UINT, Kind.FLOAT, Kind.STRING})
_INTEGERS = frozenset({Kind.INT, Kind.UINT})


def equals_any(first: Value | None, others: Sequence[Value | None]) -> bool:
    """Whether `first` equals one of the others."""
    if not others:
        raise FunctionError("missing argument for comparison")
    return any(_equal(held(first), held(other)) for other in others)


def less(first: Value | None, second: Value | None) -> bool:
    """Whether `first` comes before `second`."""
    one, two = held(first), held(second)
    kinds = _basic_kind(one), _basic_kind(two)
    if None in kinds:
        raise FunctionError("invalid type for comparison")
    match one, two:
        case Integer(value=a), Integer(value=b):
            return a < b
        case Float(value=x), Float(value=y):
            return x < y
        case Text(value=s), Text(value=t):
            return key_order(s) < key_order(t)
        case Bool(), Bool():
            raise FunctionError("invalid type for comparison")
        case _:
            raise FunctionError(_incompatible(one, two))


def _equal(one: Value | None, two: Value | None) -> bool:
    kinds = _basic_kind(one), _basic_kind(two)
    if kinds[0] != kinds[1] and not _INTEGERS.issuperset(kinds):
        if one is not None and two is not None:
            raise FunctionError(_incompatible(one, two))
        return False
    match one, two:
        case Integer(value=a), Integer(value=b):
            return a == b
        case Float(value=x), Float(value=y):
            return x == y
        case Text(value=s), Text(value=t):
            return s == t
        case Bool(value=p), Bool(value=q):
            return p == q
        case _:
            return _equal_others(one, two)


def _equal_others(one: Value | None, two: Value | None) -> bool:
    if one is not None and two is not None and one.type.kind is not two.type.kind:
        shown = f"{show(one)}: {one.type}, {two.type}: {show(two)}"
        raise FunctionError(f"non-comparable types {shown}")
    if is_nil(one) or is_nil(two):
        return is_nil(one) and is_nil(two)
    if not _comparable(two):
        assert two is not None
        raise FunctionError(f"non-comparable type {show(two)}: {two.type}")
    return _same(one, two)


def _same(one: Value | None, two: Value | None) -> bool:
    """Go's == of two interfaces."""
    if isinstance(one, Pointer) and isinstance(two, Pointer):
        return one.target is two.target
    if isinstance(one, Struct) and isinstance(two, Struct):
        pairs = zip(one.values, two.values, strict=False)
        return one.type == two.type and all(_same(a, b) for a, b in pairs)
    return one == two


def _comparable(value: Value | None) -> bool:
    match value:
        case Slice() | Map() | Function():
            return False
        case Struct(values=values):
            return all(map(_comparable, values))
        case Interface(held=inside):
            return _comparable(inside)
        case _:
            return True


def _basic_kind(value: Value | None) -> Kind | None:
    kind = None if value is None else value.type.kind
    return kind if kind in _BASIC else None


def _incompatible(one: Value | None, two: Value | None) -> str:
    assert one is not None
    assert two is not None
    return f"incompatible types for comparison: {one.type} and {two.type}"
