"""Running ahead in a thread: the same blocks and errors, and no thread is left."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.tars.ahead import Ahead

if TYPE_CHECKING:
    from collections.abc import Iterator


def _names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_blocks_come_in_order() -> None:
    with Ahead([b"%d" % number for number in range(1000)]) as blocks:
        assert list(blocks) == [b"%d" % number for number in range(1000)]
        assert list(blocks) == []
    assert "read ahead" not in _names()


def test_an_error_comes_in_its_place() -> None:
    def fails() -> Iterator[bytes]:
        yield b"first"
        raise KeyError("why")

    with Ahead(fails()) as blocks:
        assert next(blocks) == b"first"
        for _ in range(2):
            with pytest.raises(KeyError, match="why"):
                next(blocks)


def test_leaving_early_ends_the_thread() -> None:
    given = []

    def endless() -> Iterator[bytes]:
        while True:
            given.append(None)
            yield b"x"

    with Ahead(endless(), depth=2) as blocks:
        next(blocks)

    assert "read ahead" not in _names()
    assert len(given) < 10_000
