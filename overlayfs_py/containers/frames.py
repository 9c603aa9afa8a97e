"""Messages between a container's monitor and its clients: bytes in, values out.

A frame is a kind, a length of 32 bits (both big-endian) and as many bytes. A client's first frame
is a request, the monitor's first an answer, both JSON.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct(">BI")
_SIZE = struct.Struct(">HH")
_STATUS = struct.Struct(">i")
LONGEST = 1 << 16  # bytes of a frame's body


class Kind(IntEnum):
    """What a frame carries."""

    STDIN = 0  # to the monitor; an empty one is the end of the file
    STDOUT = 1
    STDERR = 2
    SIZE = 3  # to the monitor: rows and columns of the terminal
    SIGNAL = 4  # to the monitor: its number
    ENDED = 5  # the command's exit status
    REQUEST = 6  # to the monitor
    ANSWER = 7


_NUMBERS = frozenset(Kind)


class BadFrame(ValueError):
    """Bytes that the other side never sends."""


class Frame(NamedTuple):
    """One message."""

    kind: Kind
    body: bytes

    def encode(self) -> bytes:
        return _HEAD.pack(self.kind, len(self.body)) + self.body


def size_frame(rows: int, columns: int) -> Frame:
    return Frame(Kind.SIZE, _SIZE.pack(rows, columns))


def number_frame(kind: Kind, number: int) -> Frame:
    return Frame(kind, _STATUS.pack(number))


def size_in(frame: Frame) -> tuple[int, int]:
    """Rows and columns; raises BadFrame."""
    rows, columns = _unpack(_SIZE, frame)
    return rows, columns


def number_in(frame: Frame) -> int:
    """A signal's or a status's number; raises BadFrame."""
    (number,) = _unpack(_STATUS, frame)
    return number


def _unpack(form: struct.Struct, frame: Frame) -> tuple[int, ...]:
    if len(frame.body) != form.size:
        raise BadFrame(f"{frame.kind.name}: {len(frame.body)} bytes instead of {form.size}")
    return form.unpack(frame.body)


class FrameReader:
    """Takes bytes as they come, and gives the frames that are complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that end in `data`.

        Raises:
            BadFrame: they are none.
        """
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            number, length = _HEAD.unpack_from(self._rest)
            if number not in _NUMBERS or length > LONGEST:
                raise BadFrame(f"kind {number}, {length} bytes")
            end = _HEAD.size + length
            if len(self._rest) < end:
                return
            body, self._rest = self._rest[_HEAD.size : end], self._rest[end:]
            yield Frame(Kind(number), body)
