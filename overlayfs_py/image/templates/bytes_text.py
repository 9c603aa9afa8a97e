"""Go's strings are bytes; ours are text in which a byte that is no UTF-8 is a lone surrogate."""

from __future__ import annotations

import unicodedata

_ESCAPES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}
_INVALID = range(0xDC80, 0xDD00)  # what surrogateescape makes of the bytes from 0x80
_UNPRINTABLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp", "Zs"}
REPLACEMENT = "\ufffd"


def to_bytes(text: str) -> bytes:
    """The bytes of a Go string."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a surrogate that stands for no byte
        return text.encode("utf-8", "replace")


def to_text(data: bytes) -> str:
    """The Go string of some bytes."""
    return data.decode("utf-8", "surrogateescape")


def is_printable(character: str) -> bool:
    """Go's unicode.IsPrint: letters, marks, numbers, punctuation, symbols and the space."""
    return character == " " or unicodedata.category(character) not in _UNPRINTABLE


def quote(text: str, *, delimiter: str = '"', ascii_only: bool = False) -> str:
    """Go's strconv.Quote."""
    inside = "".join(_escaped(character, delimiter, ascii_only=ascii_only) for character in text)
    return f"{delimiter}{inside}{delimiter}"


def _escaped(character: str, delimiter: str, *, ascii_only: bool) -> str:
    code = ord(character)
    if character == delimiter:
        return "\\" + character
    if character in _ESCAPES:
        return _ESCAPES[character]
    if code in _INVALID:
        return f"\\x{code - 0xDC00:02x}"
    if is_printable(character) and (code < 0x80 or not ascii_only):
        return character
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_SIMPLE = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, "'": 39, '"': 34}
_HEX_DIGITS = {"x": 2, "u": 4, "U": 8}
_HEX = frozenset("0123456789abcdefABCDEF")


def unquote(literal: str) -> str | None:
    """Go's strconv.Unquote of a string in double quotes or backquotes; None if it is malformed."""
    inside = literal[1:-1]
    if literal[0] == "`":
        return inside.replace("\r", "")
    data = bytearray()
    at = 0
    while at < len(inside):
        found = unquote_character(inside, at, '"')
        if found is None:
            return None
        piece, at = found
        data += piece
    return to_text(bytes(data))


def unquote_character(text: str, at: int, delimiter: str) -> tuple[bytes, int] | None:
    """The bytes of what stands at `at`, perhaps an escape, and where the next begins; or None."""
    character = text[at]
    if character == "\n" or character == delimiter:
        return None
    if character != "\\":
        return to_bytes(character), at + 1
    kind = text[at + 1 : at + 2]
    if kind in _HEX_DIGITS:
        end = at + 2 + _HEX_DIGITS[kind]
        code = _digits(text[at + 2 : end], _HEX_DIGITS[kind], 16)
        return _encoded(code, end, is_byte=kind == "x")
    if kind and kind in "01234567":
        code = _digits(text[at + 1 : at + 4], 3, 8)
        return _encoded(code if code is None or code < 256 else None, at + 4, is_byte=True)
    if kind in _SIMPLE and (kind not in "'\"" or kind == delimiter):
        return bytes([_SIMPLE[kind]]), at + 2
    return None


def _digits(text: str, count: int, base: int) -> int | None:
    if len(text) != count or not _HEX.issuperset(text):
        return None
    try:
        return int(text, base)
    except ValueError:
        return None


def _encoded(code: int | None, end: int, *, is_byte: bool) -> tuple[bytes, int] | None:
    if code is None:
        return None
    if is_byte:
        return bytes([code]), end
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        return None
    return chr(code).encode(), end
