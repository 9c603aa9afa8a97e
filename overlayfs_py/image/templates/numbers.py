"""Numbers as Go reads them in a template (text/template/parse, node.go; strconv, atoi.go)."""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from overlayfs_py.image.templates.bytes_text import quote, unquote_character

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1  # an int64, a uint64
# Underscores stand between digits, or after the base's prefix.
_INTEGER = re.compile(r"([+-]?)(0[xXoObB]_?|0_?(?=.))?([0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEX_FLOAT = re.compile(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+")
_BASES = {"": 10, "0": 8, "0x": 16, "0o": 8, "0b": 2}


class Constant(NamedTuple):
    """What a constant can be; None where it can not."""

    integer: int | None
    fraction: float | None


class BadNumber(Exception):
    """A constant that is no number; the text is Go's."""


def parse_character(text: str) -> Constant:
    """Return the number that `'x'` is."""
    found = unquote_character(text, 1, "'") if len(text) > 1 else None
    if found is None:
        raise BadNumber("invalid syntax")
    data, end = found
    if text[end:] != "'":
        raise BadNumber(f"malformed character constant: {text}")
    code = data[0] if len(data) == 1 else ord(data.decode())
    return Constant(code, float(code))


def parse_number(text: str) -> Constant:
    """Return what a number without a type can be."""
    integer = parse_integer(text)
    if integer is not None and _SMALLEST <= integer <= _LARGEST:
        return Constant(integer, float(integer))
    fraction = parse_fraction(text)
    if fraction is None:
        raise BadNumber(f"illegal number syntax: {quote(text)}")
    if not set(text) & set(".eEpP"):
        raise BadNumber(f"integer overflow: {quote(text)}")
    whole = int(fraction) if fraction.is_integer() and abs(fraction) < 2.0**63 else None
    return Constant(whole, fraction)


def parse_integer(text: str) -> int | None:
    """Go's strconv.ParseInt with base 0, without bounds."""
    found = _INTEGER.fullmatch(text)
    if found is None:
        return None
    sign, prefix, digits = found[1], (found[2] or "").rstrip("_").lower(), found[3]
    try:
        number = int(digits.replace("_", ""), _BASES[prefix])
    except ValueError:
        return None
    return -number if sign == "-" else number


def parse_fraction(text: str) -> float | None:
    """Go's strconv.ParseFloat; None if it is out of range, too."""
    plain = text.replace("_", "") if text[:3].lower().lstrip("+-").startswith("0x") else text
    try:
        if _HEX_FLOAT.fullmatch(plain):
            number = float.fromhex(plain)
        elif _DECIMAL.fullmatch(plain):
            number = float(plain)
        else:
            return None
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
