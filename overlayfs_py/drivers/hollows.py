"""Ranges that are being emptied, into which nothing may be written back.

fallocate(2) that punches or zeroes a range leaves the rest of the pages at its edges. What the
kernel writes back of these meanwhile (a mapping has stored beside the range) brings the range's
old data with it; the kernel then zeroes its page and takes it for written, and so cache and file
part (fs/fuse/file.c, fuse_file_fallocate, has no lock against mappings).

So the daemon empties the range, drops what is written back into it, has the kernel forget its
pages, and answers then: all pages that there are by that time have been read from the empty file.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_PAGE = os.sysconf("SC_PAGE_SIZE")
_EMPTYING = 0x02 | 0x10  # FALLOC_FL_PUNCH_HOLE, FALLOC_FL_ZERO_RANGE (linux/falloc.h)


class Hollow(NamedTuple):
    """A range of a node's data."""

    ino: int
    start: int
    end: int


def empties_partial_pages(mode: int, offset: int, length: int) -> bool:
    """Whether a FALLOCATE empties a range that does not consist of whole pages."""
    return bool(mode & _EMPTYING) and (offset % _PAGE != 0 or length % _PAGE != 0)


class Hollows:
    """All that are being made."""

    def __init__(self) -> None:
        self._made: list[Hollow] = []

    def __bool__(self) -> bool:
        return bool(self._made)

    @contextmanager
    def made(self, hollow: Hollow) -> Iterator[None]:
        """Let nothing be written back into a range meanwhile."""
        self._made.append(hollow)
        try:
            yield
        finally:
            self._made.remove(hollow)

    def emptied(self, ino: int, offset: int, data: memoryview) -> memoryview:
        """Return what is written back at `offset` with zeros where it must not be."""
        end = offset + len(data)
        spans = [
            (max(hollow.start, offset), min(hollow.end, end))
            for hollow in self._made
            if hollow.ino == ino
        ]
        changed = bytearray(data)
        for start, stop in spans:
            if start < stop:
                changed[start - offset : stop - offset] = bytes(stop - start)
        return memoryview(changed)
