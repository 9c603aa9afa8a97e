"""A tar without its files' data: what is left is recorded, so that the tar can be made again.

`docs/TARSPLIT.md` is the format: lz4 frames of steps, each "these bytes", "so many zeros" or "this
piece of that file". Zeros are most of a tar that is not data; with them elided the recording of a
Debian root of 204 MB takes 0.15 MB; with a PAX header for each entry, 211 MB, it takes 0.32 MB.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING

import lz4.frame  # type: ignore[import-untyped]

from overlayfs_py.tars.header import BLOCK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.tars.members import Segment

MAGIC = b"\x93OTS\x01"
FRAME_BYTES = 1 << 20  # of steps in a frame, which is what a reader has in memory
_LEVEL = 9
_MOST_LITERAL = 1 << 16
_LEAST_ZEROS = 8  # a shorter run costs as much as it saves
_RUN = re.compile(rb"\0{%d,}" % _LEAST_ZEROS)


class Step(IntEnum):
    """The lowest two bits of a step; a number is above them."""

    LITERAL = 0  # so many bytes follow; none: the end
    ZEROS = 1  # so many zeros
    DATA = 2  # so many bytes of a file
    PADDED_DATA = 3  # the same, then zeros up to the next block of 512 bytes


class Recorder:
    """Records a tar as it is read: what is raw, and what is which file's data.

    Give `raw` to a TarReader; when a file's data has been taken, `data` says where it is now.
    """

    def __init__(self) -> None:
        self._frames = bytearray()
        self._steps = bytearray(MAGIC)
        self._literal = bytearray()
        self._file = -1  # the last one referred to
        self._position = 0  # in the tar, of what has become steps
        self._unpadded: tuple[int, bytes] | None = None  # a step of data, but for its kind

    def raw(self, data: bytes | memoryview) -> None:
        """Record bytes of the tar."""
        self._literal += data
        # Cut at the same places however the tar comes in pieces: the recording must not show it.
        while len(self._literal) >= _MOST_LITERAL:
            rest = self._literal[_MOST_LITERAL:]
            del self._literal[_MOST_LITERAL:]
            self._put_literal()
            self._literal = rest

    def data(self, file: int, segments: Sequence[Segment]) -> None:
        """Record that pieces of `file` come next in the tar; `file` is any number below 2**63."""
        for offset, length in segments:
            self._put_literal()
            delta = file - self._file - 1
            where = _number(delta << 1 if delta >= 0 else ~delta << 1 | 1) + _number(offset)
            self._file = file
            self._unpadded = length, where
            self._position += length

    def finish(self, digest: bytes) -> bytes:
        """Return the whole recording; `digest` is the tar's SHA-256, which a rebuild checks."""
        self._put_literal()
        self._steps += _step(Step.LITERAL, 0) + _number(self._position) + digest
        self._put_frame()
        return bytes(self._frames)

    def _put_literal(self) -> None:
        start = self._put_data()
        literal, steps = self._literal, self._steps
        for run in _RUN.finditer(literal, start):
            begin, end = run.span()
            if begin > start:
                steps += _step(Step.LITERAL, begin - start)
                steps += literal[start:begin]
            steps += _step(Step.ZEROS, end - begin)
            start = end
        if start < len(literal):
            steps += _step(Step.LITERAL, len(literal) - start)
            steps += literal[start:]
        self._position += len(literal)
        self._literal = bytearray()
        if len(self._steps) >= FRAME_BYTES:
            self._put_frame()

    def _put_data(self) -> int:
        """Put the step of data that waits to know its padding; returns how long that is."""
        if self._unpadded is None:
            return 0
        length, where = self._unpadded
        self._unpadded = None
        padding = -self._position % BLOCK
        padded = padding > 0 and self._literal.startswith(bytes(padding))
        self._steps += _step(Step.PADDED_DATA if padded else Step.DATA, length) + where
        return padding if padded else 0

    def _put_frame(self) -> None:
        self._frames += lz4.frame.compress(
            self._steps, compression_level=_LEVEL, content_checksum=True
        )
        self._steps.clear()


def _step(kind: Step, number: int) -> bytes:
    return _number(number << 2 | kind)


def _number(value: int) -> bytes:
    """LEB128: seven bits a byte, the lowest first, the high bit says that more follow."""
    if value < len(_SHORT):
        return _SHORT[value]
    return _long_number(value)


def _long_number(value: int) -> bytes:
    coded = bytearray()
    while value > 127:
        coded.append(value & 127 | 128)
        value >>= 7
    coded.append(value)
    return bytes(coded)


# Nearly all numbers: those of the steps in one header.
_SHORT = tuple(map(_long_number, range(BLOCK << 2)))
