"""Making a tar again from its recording and its files' data. See `split.py`."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from overlayfs_py.tars.errors import BadCompression, BadSplit
from overlayfs_py.tars.header import BLOCK
from overlayfs_py.tars.lz4_frames import read_frames
from overlayfs_py.tars.source import Source
from overlayfs_py.tars.split import FRAME_BYTES, MAGIC, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    # A file's number, an offset in it and a length: yields exactly these bytes.
    ReadData = Callable[[int, int, int], Iterable[bytes | memoryview]]

_PIECE = 1 << 20
_LONGEST_NUMBER = 10  # bytes of a number of 64 bits
_DIGEST_BYTES = 32


def rebuild(
    recording: bytes | memoryview, read_data: ReadData, size: int
) -> Iterator[bytes | memoryview]:
    """Yield the recorded tar again, in pieces, and check its digest at the end.

    `size` is how many bytes the tar has: no more are made, whatever the recording says.

    Raises:
        BadSplit: the recording is damaged, or what was made is not the tar.
        OSError: from `read_data`.
    """
    whole = hashlib.sha256()
    made = 0
    steps = Steps(recording)
    for kind, number in steps:
        for piece in _pieces(steps, kind, number, read_data):
            made += len(piece)
            if made > size:
                raise BadSplit(f"it becomes longer than its {size} bytes")
            whole.update(piece)
            yield piece
        if kind is Step.PADDED_DATA:
            padding = bytes(-made % BLOCK)
            made += len(padding)
            whole.update(padding)
            yield padding
    if (made, made) != (size, steps.size):
        raise BadSplit(f"{made} bytes instead of {size}")
    if whole.digest() != steps.digest:
        raise BadSplit("what was made has another digest")


def recorded_digest(recording: bytes | memoryview) -> tuple[bytes, int]:
    """Return the SHA-256 and the size of the recorded tar; reads the whole recording.

    Raises:
        BadSplit: the recording is damaged.
    """
    steps = Steps(recording)
    for kind, number in steps:
        if kind is Step.LITERAL:
            steps.take(number)
        elif kind is not Step.ZEROS:
            steps.take_where()
    return steps.digest, steps.size


def _pieces(
    steps: Steps, kind: Step, number: int, read_data: ReadData
) -> Iterable[bytes | memoryview]:
    match kind:
        case Step.LITERAL:
            return (steps.take(number),)
        case Step.ZEROS:
            return _zeros(number)
        case Step.DATA | Step.PADDED_DATA:
            return read_data(*steps.take_where(), number)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, _PIECE))
        count -= _PIECE


class Steps:
    """The steps of a recording, in order; their operands are the caller's to take."""

    def __init__(self, recording: bytes | memoryview) -> None:
        self._source = Source(read_frames(recording))
        self._file = -1
        self.digest = b""  # valid at the end
        self.size = -1

    def __iter__(self) -> Iterator[tuple[Step, int]]:
        """Yield each step's kind and length, up to the end."""
        if self.take(len(MAGIC)) != MAGIC:
            raise BadSplit("not a recording of a tar, or one of another version")
        while True:
            value = self._number()
            kind, number = Step(value & 3), value >> 2
            if (kind, number) == (Step.LITERAL, 0):
                break
            if number == 0:
                raise BadSplit("a step of nothing")
            yield kind, number
        self.size = self._number()
        self.digest = self.take(_DIGEST_BYTES)

    def take(self, count: int) -> bytes:
        """Return a literal's bytes."""
        if count > FRAME_BYTES:
            raise BadSplit("a piece that is too long")
        try:
            data = self._source.take(count)
        except BadCompression as error:
            raise BadSplit(str(error.strerror)) from None
        if len(data) < count:
            raise BadSplit("the recording is cut short")
        return data

    def take_where(self) -> tuple[int, int]:
        """Return the file and the offset of a step of data."""
        coded = self._number()
        self._file += (~(coded >> 1) if coded & 1 else coded >> 1) + 1
        if self._file < 0:
            raise BadSplit("a file that cannot be")
        return self._file, self._number()

    def _number(self) -> int:
        value = 0
        for shift in range(0, 7 * _LONGEST_NUMBER, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise BadSplit("a number that does not end")
