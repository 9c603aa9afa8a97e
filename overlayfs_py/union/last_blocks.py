"""Filling the last blocks below a limit: block by block, what does not fit taken back.

Nobody knows what a range will take before it is written: parts of it may have blocks already, and
a filesystem takes some for itself. So each step is looked at afterwards. One that went too far is
undone, which is possible where there was a hole: nothing is lost.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import files
from overlayfs_py.union.account import BLOCK_BYTES, no_space

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.union.account import Account

KEEP_SIZE = 1  # linux/falloc.h
PUNCH_HOLE = 2
_MOST_STEPS = 1 << 14  # guess: 64 MiB that may have blocks already; others wait meanwhile


class LastBlocks:
    """One change of one open file, which is about to take the last blocks."""

    def __init__(self, account: Account, fd: int, unit: int) -> None:
        """`fd` stays the caller's; `unit` is the size of a block of the filesystem."""
        self._account = account
        self._fd = fd
        self._unit = unit

    def write(self, offset: int, data: memoryview, write: Callable[[int, memoryview], int]) -> int:
        """Write what there is room for, by `write`; returns how much.

        Raises:
            OSError: ENOSPC, where it is nothing.
        """
        done = 0
        while done < len(data):
            at = offset + done
            piece = data[done : done + self._unit - at % self._unit]
            step = self._step(at, len(piece), partial(write, at, piece))
            done += step
            if step < len(piece):
                break
        if not done and len(data):
            raise no_space()
        return done

    def allocate(self, mode: int, offset: int, length: int) -> None:
        """Allocate a range and leave the size; what was allocated before a refusal stays.

        Raises:
            OSError: ENOSPC.
        """
        status = os.fstat(self._fd)
        self._account.note(status)
        if length - status.st_blocks * BLOCK_BYTES > self._account.left_bytes:
            raise no_space()
        at, end = offset, offset + length
        for _ in range(_MOST_STEPS):
            if at >= end:
                return
            step = self._fitting(at, end)
            if self._step(at, step, partial(self._allocate, mode, at, step)) < step:
                break
            at += step
        raise no_space()

    def _allocate(self, mode: int, offset: int, length: int) -> int:
        files.allocate(self._fd, mode | KEEP_SIZE, offset, length)
        return length

    def _fitting(self, at: int, end: int) -> int:
        """How long the next step may be: what has data, what fits, or one block."""
        with suppress(OSError):  # ENXIO: beyond the end
            data_end = os.lseek(self._fd, at, os.SEEK_HOLE)
            if data_end > at:
                return min(data_end, end) - at
        left = max(self._account.left_bytes // self._unit - 1, 1) * self._unit
        return min(left - at % self._unit, end - at)

    def _step(self, at: int, length: int, call: Callable[[], int]) -> int:
        """Make one step; returns what it did, 0 where it was too much and is undone."""
        before = os.fstat(self._fd)
        self._account.note(before)
        start, end = at - at % self._unit, at + length + -(at + length) % self._unit
        was_hole = self._is_hole(start, at + length, before.st_size)
        if was_hole and self._account.left_bytes < self._unit and self._has_no_block(start, end):
            return 0
        done = call()
        after = os.fstat(self._fd)
        self._account.note(after)
        went_too_far = self._account.left_bytes < 0 and after.st_blocks > before.st_blocks
        if went_too_far and was_hole and self._take_back(start, end, before.st_size):
            return 0
        return done

    def _is_hole(self, start: int, end: int, size: int) -> bool:
        if start >= size:
            return True
        try:
            return os.lseek(self._fd, start, os.SEEK_DATA) >= end
        except OSError as error:
            return error.errno == errno.ENXIO

    def _has_no_block(self, start: int, end: int) -> bool:
        """Whether a range without data surely was not allocated either."""
        try:
            return not files.count_extents(self._fd, start, end - start)
        except OSError:
            return False  # the filesystem does not tell (tmpfs)

    def _take_back(self, start: int, end: int, size: int) -> bool:
        try:
            os.ftruncate(self._fd, size)
            files.allocate(self._fd, PUNCH_HOLE | KEEP_SIZE, start, end - start)
        except OSError:
            return False  # there are no holes here: then this block passes the limit
        self._account.note(os.fstat(self._fd))
        return True
