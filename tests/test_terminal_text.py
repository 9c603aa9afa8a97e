from __future__ import annotations

import pytest

from overlayfs_py.terminal_text import for_terminal, quoted, shortened


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢", "plain ü 漢"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", r"caf\xe9"),  # bytes that are not UTF-8
        ("caf\udce9", r"caf\xe9"),
        ("a\nb\tc\x1b[31m\x7f", r"a\x0ab\x09c\x1b[31m\x7f"),
        (b"\xc2\x9b31m", r"\u009b31m"),  # CSI as one character: C1
        ("\u202egpj.exe", r"\u202egpj.exe"),  # right-to-left override
        ("\u2028", r"\u2028"),  # a line's end to some
        ("\U000e0041", r"\U000e0041"),  # an invisible tag
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_not_printable_is_an_escape(text: str | bytes, shown: str) -> None:
    assert for_terminal(text) == shown
    assert for_terminal(shown) == shown
    assert shown.isprintable()


def test_a_long_text_is_cut() -> None:
    assert shortened("x" * 120) == "x" * 120
    assert shortened("x" * 121) == "x" * 120 + "..."
    assert shortened("\x1b" * 500) == (r"\x1b" * 30) + "..."
    assert quoted(b"a" * 300) == "'" + "a" * 120 + "...'"
