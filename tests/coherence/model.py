"""What a file must hold: a stamp for each of its units, shared by processes, under locks.

A process that changes units, or compares them, holds their lock meanwhile, so what it must find
is known. Whoever does neither needs no lock, and may read what it likes in the middle of a change.
"""

from __future__ import annotations

import fcntl
import os
import struct
from array import array
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import mmap
    from collections.abc import Iterator
    from pathlib import Path

UNIT = 1024  # bytes: four to a page, so that a page has several writers at once
UNITS = 256
SIZE = UNIT * UNITS
PAGE_UNITS = 4


class Units(NamedTuple):
    """A range of a file."""

    first: int
    end: int

    @property
    def offset(self) -> int:
        return self.first * UNIT

    @property
    def size(self) -> int:
        return (self.end - self.first) * UNIT

    def whole_pages(self) -> Units:
        return Units(self.first // PAGE_UNITS * PAGE_UNITS, -(-self.end // PAGE_UNITS) * PAGE_UNITS)


ALL = Units(0, UNITS)


def content(stamps: array[int]) -> bytes:
    """What units with these stamps hold: 0 is for zeros."""
    return b"".join(struct.pack("=Q", stamp) * (UNIT // 8) for stamp in stamps)


class Model:
    """The stamps of one file, as one process sees them."""

    def __init__(self, shared: mmap.mmap, locks: Path, process: int) -> None:
        self._stamps = memoryview(shared).cast("Q")
        self._locks = os.open(locks, os.O_RDWR | os.O_CREAT, 0o600)
        self._next = process << 40

    @contextmanager
    def held(self, units: Units, *, shared: bool = False) -> Iterator[None]:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.lockf(self._locks, kind, units.size // UNIT, units.first)
        try:
            yield
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, units.size // UNIT, units.first)

    def stamps(self, units: Units) -> array[int]:
        return array("Q", self._stamps[units.first : units.end])

    def new_stamps(self, units: Units) -> array[int]:
        """Stamps that no unit has had."""
        self._next += units.end - units.first
        return array("Q", range(self._next, self._next + units.end - units.first))

    def set(self, units: Units, stamps: array[int]) -> None:
        self._stamps[units.first : units.end] = memoryview(stamps)

    def clear(self, units: Units) -> None:
        self.set(units, array("Q", [0]) * (units.end - units.first))
