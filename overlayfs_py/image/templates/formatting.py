"""Go's Sprintf (fmt, print.go and format.go).

What cannot be formatted becomes part of the text, as in Go: `%!d(string=hi)`, `%!s(MISSING)`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from overlayfs_py.image.templates import printing
from overlayfs_py.image.templates.bytes_text import (
    REPLACEMENT,
    is_printable,
    quote,
    to_bytes,
    to_text,
)
from overlayfs_py.image.templates.values import (
    DURATION,
    UINT8,
    Bool,
    Float,
    Integer,
    Interface,
    Map,
    Pointer,
    Slice,
    Struct,
    Text,
    Value,
    held,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_LARGEST = 1_000_000  # a wider field is refused, as in Go
_SPECIFIER = re.compile(
    r"%(?P<flags>[-+# 0]*)(?P<a1>\[[^\]]*\])?(?P<width>\*|[0-9]+)?"
    r"(?:(?P<dot>\.)(?P<a2>\[[^\]]*\])?(?P<precision>\*|[0-9]+)?)?(?P<a3>\[[^\]]*\])?(?P<verb>.)?",
    re.DOTALL,
)


@dataclass(slots=True)
class _Spec:
    """One specifier."""

    verb: str
    minus: bool = False
    plus: bool = False
    names: bool = False  # of the fields of structs: %+v, where the plus says nothing else
    sharp: bool = False
    space: bool = False
    zero: bool = False
    width: int | None = None
    precision: int | None = None


def sprintf(pattern: str, values: Sequence[Value | None]) -> str:
    """Return `pattern` with `values` in place of its specifiers."""
    return _Printf(pattern, values).run()


class _Printf:
    def __init__(self, pattern: str, values: Sequence[Value | None]) -> None:
        self._pattern = pattern
        self._values = values
        self._next = 0
        self._reordered = False  # an explicit index was given
        self._bad_index = False
        self._out: list[str] = []

    def run(self) -> str:
        at = 0
        while (percent := self._pattern.find("%", at)) >= 0:
            self._out.append(self._pattern[at:percent])
            found = _SPECIFIER.match(self._pattern, percent)
            assert found is not None
            at = found.end()
            if self._is_too_large(found):
                self._out.append("%!(NOVERB)")
                at = len(self._pattern)
            else:
                self._specifier(found)
        self._out.append(self._pattern[at:])
        self._extra()
        return "".join(self._out)

    def _is_too_large(self, found: re.Match[str]) -> bool:
        """Whether a number is beyond what Go reads; it then gives up on the whole pattern."""
        numbers = (found["width"] or "0", found["precision"] or "0")
        return any(text != "*" and int(text[:9]) > _LARGEST for text in numbers)

    def _specifier(self, found: re.Match[str]) -> None:
        flags = found["flags"]
        minus = "-" in flags
        verb = found["verb"] or ""
        spec = _Spec(
            verb,
            minus=minus,
            plus="+" in flags and verb != "v",
            names="+" in flags and verb == "v",
            sharp="#" in flags,
            space=" " in flags,
            zero="0" in flags and not minus,
        )
        self._bad_index = False
        self._index(found["a1"])
        spec.width = self._number(found["width"], "%!(BADWIDTH)")
        if spec.width is not None and spec.width < 0:
            spec.width, spec.minus, spec.zero = -spec.width, True, False
        self._index(found["a2"])
        if found["dot"]:
            spec.precision = self._number(found["precision"] or "0", "%!(BADPREC)")
            if spec.precision is not None and spec.precision < 0:
                spec.precision = None
                if found["precision"] == "*":
                    self._out.append("%!(BADPREC)")
        self._index(found["a3"])
        self._verb(spec)

    def _index(self, text: str | None) -> None:
        if text is None:
            return
        self._reordered = True
        number = int(text[1:-1]) if text[1:-1].isascii() and text[1:-1].isdigit() else 0
        if 1 <= number <= len(self._values):
            self._next = number - 1
        else:
            self._bad_index = True

    def _number(self, text: str | None, otherwise: str) -> int | None:
        if text is None:
            return None
        if text != "*":
            number = int(text)
        else:
            value = held(self._values[self._next]) if self._next < len(self._values) else None
            self._next += self._next < len(self._values)
            number = value.value if isinstance(value, Integer) else _LARGEST + 1
        if abs(number) > _LARGEST:
            self._out.append(otherwise)
            return None
        return number

    def _verb(self, spec: _Spec) -> None:
        if not spec.verb:
            self._out.append("%!(NOVERB)")
        elif spec.verb == "%":
            self._out.append("%")
        elif self._bad_index:
            self._out.append(f"%!{spec.verb}(BADINDEX)")
        elif self._next >= len(self._values):
            self._out.append(f"%!{spec.verb}(MISSING)")
        else:
            value = self._values[self._next]
            self._next += 1
            self._out.append(_format(spec, held(value)))

    def _extra(self) -> None:
        if self._reordered or self._next >= len(self._values):
            return
        extra = [
            printing.NIL
            if held(value) is None
            else f"{printing.type_name(value)}={printing.show(value)}"
            for value in self._values[self._next :]
        ]
        self._out.append(f"%!(EXTRA {', '.join(extra)})")


def _format(spec: _Spec, value: Value | None) -> str:
    if spec.verb == "T":
        return _pad(spec, _cut(spec, printing.type_name(value)))
    if value is None:
        return _pad(spec, printing.NIL) if spec.verb == "v" else f"%!{spec.verb}(<nil>)"
    if spec.verb == "v" and spec.sharp:
        return printing.show_go(value)
    return _format_value(spec, value, 0)


def _format_value(spec: _Spec, value: Value | None, depth: int) -> str:
    match value:
        case Bool() if spec.verb in "tv":
            return _pad(spec, printing.show(value))
        case Integer():
            return _format_integer(spec, value)
        case Float():
            return _format_float(spec, value)
        case Text():
            return _format_text(spec, value)
        case Slice():
            return _format_slice(spec, value, depth)
        case Map():
            return _format_map(spec, value, depth)
        case Struct():
            return _format_struct(spec, value, depth)
        case Interface(held=inside_value):
            if inside_value is None:
                return printing.NIL
            return _format_value(spec, inside_value, depth)
        case Pointer(target=target):
            if target is None:
                return _pad(spec, printing.NIL) if spec.verb in "vs" else _bad_verb(spec, value)
            if depth == 0 and isinstance(target, Slice | Map | Struct):
                return f"&{_format_value(spec, target, depth + 1)}"
            return _pad(spec, printing.ADDRESS)
        case _:
            return _bad_verb(spec, value)


def _format_map(spec: _Spec, value: Map, depth: int) -> str:
    shown = (
        f"{_format_text(spec, Text(key))}:{_format_value(spec, item, depth + 1)}"
        for key, item in value.sorted()
    )
    return f"map[{' '.join(shown)}]"


def _format_slice(spec: _Spec, value: Slice, depth: int) -> str:
    if value.type.element == UINT8 and spec.verb in "sqxX":
        data = bytes(item.value for item in value.items or () if isinstance(item, Integer))
        return _format_text(spec, Text(to_text(data)))
    inside = " ".join(_format_value(spec, item, depth + 1) for item in value.items or ())
    return f"[{inside}]"


def _format_struct(spec: _Spec, value: Struct, depth: int) -> str:
    if value.type.is_text:
        return _format_value(spec, value.values[0], depth)
    shown = [_format_value(spec, field, depth + 1) for field in value.values]
    if spec.names:
        names = [field.name for field in value.type.fields]
        shown = [f"{name}:{text}" for name, text in zip(names, shown, strict=True)]
    return f"{{{' '.join(shown)}}}"


def _bad_verb(spec: _Spec, value: Value | None) -> str:
    if value is None:
        return f"%!{spec.verb}(<nil>)"
    shown = _format_value(replace(spec, verb="v"), value, 0)
    return f"%!{spec.verb}({value.type}={shown})"


_INTEGER_FORMS = {"d": "d", "v": "d", "b": "b", "o": "o", "O": "o", "x": "x", "X": "X"}
_PREFIXES = {"b": "0b", "o": "0", "O": "0o", "x": "0x", "X": "0X"}


def _format_integer(spec: _Spec, value: Integer) -> str:
    if value.type == DURATION and spec.verb in "vsq":
        return _format_text(spec, Text(printing.show(value)))
    number = value.value
    match spec.verb:
        case "c":
            return _pad(spec, _character(number))
        case "q":
            return _pad(spec, quote(_character(number), delimiter="'", ascii_only=spec.plus))
        case "U":
            return _pad(spec, _format_code_point(spec, number))
        case verb if verb in _INTEGER_FORMS:
            return _format_digits(spec, number)
        case _:
            return _bad_verb(spec, value)


def _format_digits(spec: _Spec, number: int) -> str:
    digits = format(abs(number), _INTEGER_FORMS[spec.verb])
    if spec.precision is not None:
        digits = "" if spec.precision == 0 and number == 0 else digits.rjust(spec.precision, "0")
    sign = "-" if number < 0 else "+" if spec.plus else " " if spec.space else ""
    prefix = _PREFIXES.get(spec.verb, "") if spec.sharp or spec.verb == "O" else ""
    if prefix == "0" and digits.startswith("0"):
        prefix = ""
    if spec.zero and spec.width is not None and spec.precision is None:
        digits = digits.rjust(spec.width - len(sign), "0")
    spaces = _Spec(spec.verb, minus=spec.minus, width=spec.width)
    if spec.precision == 0 and number == 0:
        return _pad(spaces, "")
    return _pad(spaces, sign + prefix + digits)


def _character(number: int) -> str:
    if not 0 <= number <= 0x10FFFF or 0xD800 <= number < 0xE000:
        return REPLACEMENT
    return chr(number)


def _format_code_point(spec: _Spec, number: int) -> str:
    if number < 0:
        number += 1 << 64
    digits = f"{number:X}".rjust(max(4, spec.precision or 0), "0")
    character = _character(number)
    shown = (
        f" '{character}'" if spec.sharp and number <= 0x10FFFF and is_printable(character) else ""
    )
    return f"U+{digits}{shown}"


def _format_float(spec: _Spec, value: Float) -> str:
    number = value.value
    if spec.verb not in "vgGeEfF":
        return _bad_verb(spec, value)
    sign = "-" if math.copysign(1, number) < 0 else "+" if spec.plus else " " if spec.space else ""
    if not math.isfinite(number):
        text = "NaN" if math.isnan(number) else "Inf"
        sign = sign.replace("-", "") if math.isnan(number) else sign or "+"
        return _pad(_Spec("v", minus=spec.minus, width=spec.width), sign + text)
    digits = _float_digits(spec, abs(number))
    if spec.zero and spec.width is not None:
        digits = digits.rjust(spec.width - len(sign), "0")
    return _pad(_Spec("v", minus=spec.minus, width=spec.width), sign + digits)


def _float_digits(spec: _Spec, number: float) -> str:
    if spec.precision is None and spec.verb in "vgG":
        text = printing.show_float(number)
        return text.upper() if spec.verb == "G" else text
    verb = {"v": "g", "F": "f"}.get(spec.verb, spec.verb)
    precision = 6 if spec.precision is None else spec.precision
    return format(number, f"{'#' if spec.sharp else ''}.{precision}{verb}")


def _format_text(spec: _Spec, value: Text) -> str:
    text = value.value
    match spec.verb:
        case "v" | "s":
            return _pad(spec, _cut(spec, text))
        case "q":
            cut = _cut(spec, text)
            if spec.sharp and "`" not in cut and all(map(_can_backquote, cut)):
                return _pad(spec, f"`{cut}`")
            return _pad(spec, quote(cut, ascii_only=spec.plus))
        case "x" | "X":
            return _pad(spec, _hex(spec, to_bytes(text)))
        case _:
            return _bad_verb(spec, value)


def _can_backquote(character: str) -> bool:
    return character == "\t" or (character >= " " and character not in "\x7f\ufeff`")


def _hex(spec: _Spec, data: bytes) -> str:
    cut = data if spec.precision is None else data[: spec.precision]
    prefix = "0" + spec.verb if spec.sharp and cut else ""
    if spec.space:
        joint = " " + prefix
        text = prefix + joint.join(f"{byte:02x}" for byte in cut)
    else:
        text = prefix + cut.hex()
    return text.upper() if spec.verb == "X" else text


def _cut(spec: _Spec, text: str) -> str:
    return text if spec.precision is None else text[: spec.precision]


def _pad(spec: _Spec, text: str) -> str:
    if spec.width is None:
        return text
    if spec.minus:
        return text.ljust(spec.width)
    return text.rjust(spec.width, "0" if spec.zero else " ")
