"""Values as Go's fmt prints them, in which BuildKit writes an image's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES |= {"\v": "\\v", '"': '\\"', "\\": "\\\\"}
_SECOND_NS = 1_000_000_000


def quoted_list(words: Iterable[str]) -> str:
    """A list of texts as %q prints it."""
    return f"[{' '.join(map(_quoted, words))}]"


def plain_list(words: Iterable[str]) -> str:
    """A list of texts as %v prints it."""
    return f"[{' '.join(words)}]"


def duration(time_ns: int) -> str:
    """A time.Duration: `1h0m30s`, `1.5s`, `20ms`."""
    if time_ns < _SECOND_NS:
        for unit, size in (("ms", 1_000_000), ("µs", 1000), ("ns", 1)):
            if time_ns >= size:
                return _decimal(time_ns, size) + unit
        return "0s"
    seconds, rest = divmod(time_ns, _SECOND_NS)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    text = _decimal(seconds * _SECOND_NS + rest, _SECOND_NS) + "s"
    if hours or minutes:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    fraction = f"{rest:0{len(str(unit)) - 1}d}".rstrip("0") if rest else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def _quoted(text: str) -> str:
    return f'"{"".join(map(_quoted_character, text))}"'


def _quoted_character(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8 (PEP 383)
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
