"""Foreign text on a person's terminal: names from layers, registries, configs and error messages.

One rule for all that is printed: a character that is not printable stands there as an escape. That
covers what a terminal obeys (C0, DEL, C1) and what makes it show another order than the text has
(bidirectional controls). The result is one line.
"""

from __future__ import annotations

_LONGEST_CHARACTERS = 120


def for_terminal(text: str | bytes) -> str:
    """Return `text` on one line, each character that is not printable as an escape.

    Bytes are read as UTF-8; a byte that is not part of it, and a lone surrogate that stands for
    one (PEP 383), becomes a backslash, `x` and two digits. Applied twice, the result is the same.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    return text if text.isprintable() else "".join(map(_shown, text))


def shortened(text: str | bytes, most: int = _LONGEST_CHARACTERS) -> str:
    """Return `text` for a message: as `for_terminal`, and `most` characters of it at most."""
    shown = for_terminal(text[: most + 1])
    return shown if len(shown) <= most else shown[:most] + "..."


def quoted(text: str | bytes) -> str:
    """Return `text` for a message, between quotes and shortened."""
    return f"'{shortened(text)}'"


def _shown(character: str) -> str:
    code = ord(character)
    if character.isprintable():
        return character
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
