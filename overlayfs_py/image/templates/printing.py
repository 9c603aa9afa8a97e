"""Go's fmt for values: %v as templates print, Sprint and Sprintln.

Source: fmt, print.go.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from overlayfs_py.image.templates.bytes_text import quote
from overlayfs_py.image.templates.values import (
    DURATION,
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
    indirect,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_VALUE = "<no value>"
NIL = "<nil>"
# Where a pointer inside a value points to says nothing; Go prints an address.
ADDRESS = "0xc000000000"
_EXPONENT_SHOWN = 6
_SECOND_NS = 1_000_000_000
_SMALL_UNITS = ((1_000_000, "ms"), (1_000, "µs"), (1, "ns"))


def show(value: Value | None, depth: int = 0) -> str:
    """Go's %v."""
    match value:
        case None:
            return NIL
        case Bool(value=truth):
            return "true" if truth else "false"
        case Integer(value=number, type=type_):
            return show_duration(number) if type_ == DURATION else str(number)
        case Float(value=fraction):
            return show_float(fraction)
        case Text(value=text):
            return text
        case Slice():
            return f"[{' '.join(show(item, depth + 1) for item in value.items or ())}]"
        case Map():
            shown = (f"{key}:{show(item, depth + 1)}" for key, item in value.sorted())
            return f"map[{' '.join(shown)}]"
        case Struct():
            return _show_struct(value, depth)
        case Interface(held=inside):
            return show(inside, depth)
        case Pointer():
            return _show_pointer(value, depth)
        case Function():
            return ADDRESS


def show_duration(nanoseconds: int) -> str:
    """Go's String of a time.Duration: `1h2m3.5s`, below a second `1.5ms`."""
    size, sign = abs(nanoseconds), "-" if nanoseconds < 0 else ""
    if size < _SECOND_NS:
        unit, name = next(((of, name) for of, name in _SMALL_UNITS if size >= of), (1, "s"))
        return f"{sign}{_decimal(size, unit)}{name}"
    minutes, rest = divmod(size, 60 * _SECOND_NS)
    hours, minutes = divmod(minutes, 60)
    shown = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{shown}{_decimal(rest, _SECOND_NS)}s"


def _decimal(size: int, unit: int) -> str:
    whole, fraction = divmod(size, unit)
    digits = str(fraction + unit)[1:].rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)


def _show_struct(value: Struct, depth: int) -> str:
    if value.type.is_text:
        return show(value.values[0])
    return f"{{{' '.join(show(field, depth + 1) for field in value.values)}}}"


def _show_pointer(value: Pointer, depth: int) -> str:
    if value.target is None:
        return NIL
    if depth == 0 and isinstance(value.target, Slice | Map | Struct):
        return f"&{show(value.target, depth + 1)}"
    return ADDRESS


def show_float(number: float) -> str:
    """Go's %v of a float64: as few digits as say which it is, %e from 1e6 and below 1e-4."""
    if not math.isfinite(number):
        return {math.inf: "+Inf", -math.inf: "-Inf"}.get(number, "NaN")
    digits, exponent = _shortest(number)
    sign = "-" if math.copysign(1, number) < 0 else ""
    if exponent < -4 or exponent >= _EXPONENT_SHOWN:
        rest = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{rest}e{exponent:+03d}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    fraction = digits[exponent + 1 :]
    return f"{sign}{whole}{'.' if fraction else ''}{fraction}"


def _shortest(number: float) -> tuple[str, int]:
    """The digits without trailing zeros, and the exponent of the first."""
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0", 0
    leading = len(whole + fraction) - len(digits)
    return digits.rstrip("0") or "0", int(exponent or 0) + len(whole) - 1 - leading


def printable(value: Value | None) -> Value | None:
    """What printing a value prints: pointers are followed, and nothing is `<no value>`."""
    if isinstance(value, Pointer):
        value = indirect(value)[0]
    return Text(NO_VALUE) if value is None else value


def sprint(values: Sequence[Value | None]) -> str:
    """Go's Sprint: a space between two values that are both no strings."""
    shown: list[str] = []
    previous_is_text = True
    for value in values:
        is_text = isinstance(value, Text)
        if shown and not is_text and not previous_is_text:
            shown.append(" ")
        shown.append(show(value))
        previous_is_text = is_text
    return "".join(shown)


def sprintln(values: Sequence[Value | None]) -> str:
    """Go's Sprintln: a space between any two, and a newline."""
    return " ".join(map(show, values)) + "\n"


def show_go(value: Value | None) -> str:
    """Go's %#v."""
    match value:
        case None:
            return NIL
        case Text(value=text):
            return quote(text)
        case Integer(type=type_, value=number) if type_.kind is Kind.UINT:
            return f"{number:#x}"
        case Slice(items=None) | Map(entries=None):
            return f"{value.type}(nil)"
        case Slice(items=items):
            assert items is not None
            return f"{_go_name(value)}{{{', '.join(map(_go_element, items))}}}"
        case Map():
            entries = (f"{quote(key)}:{_go_element(item)}" for key, item in value.sorted())
            return f"{_go_name(value)}{{{', '.join(entries)}}}"
        case Struct():
            named = zip(value.type.fields, value.values, strict=False)
            fields = (f"{field.name}:{_go_element(item)}" for field, item in named)
            return f"{_go_name(value)}{{{', '.join(fields)}}}"
        case Interface(held=inside):
            return show_go(inside)
        case Pointer(target=None):
            return f"({value.type})(nil)"
        case Pointer(target=target):
            return f"&{show_go(target)}"
        case _:
            return show(value)


def _go_element(value: Value) -> str:
    if isinstance(value, Interface) and value.held is None:
        return f"{value.type}(nil)"
    if isinstance(value, Pointer) and value.target is not None:
        return f"({value.type})({ADDRESS})"
    return show_go(value)


def _go_name(value: Slice | Map | Struct) -> str:
    return value.type.name


def type_name(value: Value | None) -> str:
    """Go's %T."""
    inside = held(value)
    return NIL if inside is None else inside.type.name
