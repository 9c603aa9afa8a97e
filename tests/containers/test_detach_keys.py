"""The keys that detach: docker's words for them, and what is typed piece by piece."""

from __future__ import annotations

import pytest

from overlayfs_py.containers.detach_keys import DEFAULT, Watch, parse


@pytest.mark.parametrize(
    ("text", "keys"),
    [("", DEFAULT), ("ctrl-p,ctrl-q", DEFAULT), ("a", b"a"), ("ctrl-@,x,ctrl-_", b"\x00x\x1f")],
)
def test_words_for_keys(text: str, keys: bytes) -> None:
    assert parse(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-1", "pq", "a,,b", "é"])
def test_what_is_no_key(text: str) -> None:
    with pytest.raises(ValueError, match="not a character"):
        parse(text)


@pytest.mark.parametrize(
    ("pieces", "passed", "ends"),
    [
        ([b"ab", b"c\x10\x11"], b"abc", True),
        ([b"a\x10", b"\x11"], b"a", True),
        ([b"\x10", b"\x10", b"\x11x"], b"\x10", True),
        ([b"\x10", b"b"], b"\x10b", False),
    ],
)
def test_keys_in_pieces(pieces: list[bytes], passed: bytes, *, ends: bool) -> None:
    watch = Watch(DEFAULT)
    found = [watch.passed(piece) for piece in pieces]

    assert b"".join(data for data, _ in found) == passed
    assert [is_end for _, is_end in found] == [False] * (len(pieces) - 1) + [ends]
