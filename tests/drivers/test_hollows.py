"""What is written back while a range is emptied does not bring its old data back."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest
import trio

from overlayfs_py.drivers.direct_operations import DirectOperations
from overlayfs_py.drivers.hollows import Hollow, Hollows, empties_partial_pages
from overlayfs_py.drivers.uses import Uses
from overlayfs_py.union.core import Union
from overlayfs_py.wire.protocol import WRITE_CACHE
from overlayfs_py.wire.requests import Fallocate, Header, Write
from tests.drivers.serving import Stack
from tests.posix.calls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
_ZERO = 16
_PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(
    ("mode", "offset", "length", "partial"),
    [
        (_PUNCH, 0, _PAGE, False),
        (_PUNCH, 100, _PAGE, True),
        (_PUNCH, _PAGE, 100, True),
        (_ZERO, 100, 100, True),
        (0, 100, 100, False),  # it only sets space aside
        (FALLOC_FL_KEEP_SIZE, 100, 100, False),
    ],
)
def test_whole_pages_need_no_care(mode, offset, length, partial) -> None:
    assert empties_partial_pages(mode, offset, length) is partial


def test_only_what_lies_in_the_range_is_dropped() -> None:
    hollows = Hollows()
    with hollows.made(Hollow(7, 4, 8)), hollows.made(Hollow(9, 0, 100)):
        assert bytes(hollows.emptied(7, 2, memoryview(b"abcdefgh"))) == b"ab\0\0\0\0gh"
        assert bytes(hollows.emptied(7, 8, memoryview(b"abc"))) == b"abc"
        assert bytes(hollows.emptied(5, 2, memoryview(b"abc"))) == b"abc"
    assert not hollows


@pytest.fixture
def stack(scratch: Path) -> Stack:
    return Stack(scratch)


@pytest.fixture
def union(stack: Stack) -> Iterator[Union]:
    (stack.upper / "file").write_bytes(b"o" * _PAGE)
    opened = Union(stack.spec)
    yield opened
    opened.close()


def test_a_page_that_the_kernel_writes_back_meanwhile(stack: Stack, union: Union) -> None:
    node = union.lookup(union.root, b"file")
    assert node is not None
    union.hold(node)
    header = Header(0, 0, 2, node.ino, 0, 0, 0)
    told = []

    def launder(message: bytes) -> None:
        """As the kernel does that is told to forget a page in which a mapping has stored."""
        told.append(struct.unpack("=Qqq", message[16:]))
        page = memoryview(b"s" + b"o" * (_PAGE - 1))
        operations.write(header, Write(0, 0, WRITE_CACHE, page, os.O_RDWR))

    operations = DirectOperations(union, launder, Uses())
    emptied = operations.fallocate(header, Fallocate(100, 200, _PUNCH))

    async def answer() -> bytes:
        assert not isinstance(emptied, bytes | memoryview | int)
        return await emptied

    assert trio.run(answer) == b""
    assert told == [(node.ino, 100, 200)]
    expected = b"s" + b"o" * 99 + bytes(200) + b"o" * (_PAGE - 300)
    assert (stack.upper / "file").read_bytes() == expected
