"""What a container wrote: docker's json-file, an object per line with the time and the stream.

A line of output that is longer than 16 KiB, or that has waited for its end, is several objects;
only the last one's text ends in a newline (moby, daemon/logger/copier.go).
"""

from __future__ import annotations

import json
import os
import select
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FILE = "output.json"
NONE = "none"  # the driver that keeps nothing
_LONGEST_PIECE = 16384
_BLOCK = 1 << 16
_LOOK_AGAIN_MS = 50


class Entry(NamedTuple):
    """A piece of output."""

    text: bytes
    stream: str  # stdout or stderr
    time: str  # RFC 3339 in UTC, with nanoseconds

    @property
    def time_ns(self) -> int:
        return parse_time(self.time)


class LogWriter:
    """Appends to a log what comes from one container's streams."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(path, flags, 0o600)
        self._begun: dict[str, bytes] = {}  # a line's beginning, by stream

    def write(self, stream: str, data: bytes) -> None:
        """Take what a stream gave; whole lines are written at once.

        Raises:
            OSError: the disk is full, for example. What was written before stays readable.
        """
        *lines, rest = (self._begun.pop(stream, b"") + data).split(b"\n")
        pieces = [piece for line in lines for piece in _pieces(line + b"\n")]
        while len(rest) >= _LONGEST_PIECE:
            pieces.append(rest[:_LONGEST_PIECE])
            rest = rest[_LONGEST_PIECE:]
        if rest:
            self._begun[stream] = rest
        self._append(stream, pieces)

    def close(self) -> None:
        """Write what has no end, and let go."""
        try:
            for stream, rest in self._begun.items():
                self._append(stream, [rest])
        finally:
            os.close(self._fd)

    def _append(self, stream: str, pieces: list[bytes]) -> None:
        if not pieces:
            return
        now = format_time(time.time_ns())
        rows = [
            json.dumps({"log": os.fsdecode(piece), "stream": stream, "time": now}).encode()
            for piece in pieces
        ]
        data = memoryview(b"\n".join(rows) + b"\n")
        end = os.lseek(self._fd, 0, os.SEEK_END)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            os.ftruncate(self._fd, end)  # no half of a row, which would spoil the next
            raise


def read(path: Path) -> Iterator[Entry]:
    """Yield all that a log has; a log that is not there is empty."""
    try:
        with path.open("rb") as file:
            yield from filter(None, map(_entry, file))
    except FileNotFoundError:
        return


def last(path: Path, count: int) -> list[Entry]:
    """Return the last `count` lines of output, found from the log's end."""
    try:
        with path.open("rb") as file:
            rows = _last_rows(file.fileno(), count)
    except FileNotFoundError:
        return []
    return list(filter(None, map(_entry, rows)))


def follow(path: Path, is_over: Callable[[], bool], *, start: int = 0) -> Iterator[Entry]:
    """Yield what a log has from byte `start` on, and what is written until `is_over`."""
    waiting = select.poll()
    with path.open("rb") as file:
        file.seek(start)
        rest = b""
        while True:
            ends = is_over()
            while block := file.read(_BLOCK):
                *rows, rest = (rest + block).split(b"\n")
                yield from filter(None, map(_entry, rows))
            if ends:
                return
            waiting.poll(_LOOK_AGAIN_MS)


def format_time(time_ns: int) -> str:
    """A time as Go's RFC3339Nano has it in UTC: no zeros at the end of the fraction."""
    seconds, nanoseconds = divmod(time_ns, 10**9)
    fraction = f".{nanoseconds:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def parse_time(text: str) -> int:
    """Return such a time in nanoseconds.

    Raises:
        ValueError: it is not one.
    """
    whole, _, fraction = text.removesuffix("Z").partition(".")
    seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    return seconds * 10**9 + int(fraction.ljust(9, "0")[:9] or "0")


def _pieces(line: bytes) -> Iterator[bytes]:
    for start in range(0, len(line), _LONGEST_PIECE):
        yield line[start : start + _LONGEST_PIECE]


def _entry(row: bytes) -> Entry | None:
    """What a row says, None for one that a full disk or a power cut has spoilt."""
    try:
        found = json.loads(row)
        return Entry(os.fsencode(found["log"]), str(found["stream"]), str(found["time"]))
    except (ValueError, KeyError, TypeError):
        return None


def _last_rows(fd: int, count: int) -> list[bytes]:
    """The last rows in which `count` lines of output end."""
    size = os.fstat(fd).st_size
    length = _BLOCK
    while True:
        rows = os.pread(fd, min(length, size), max(0, size - length)).splitlines()
        if length < size:
            rows = rows[1:]  # the first one may be cut
        ends = [at for at, row in enumerate(rows) if _ends_line(row)]
        if len(ends) > count or length >= size:
            # What comes after the last line's end is a line without one.
            unfinished = bool(rows) and not _ends_line(rows[-1])
            kept = count - unfinished
            if kept >= len(ends):
                return rows
            return rows[ends[-kept - 1] + 1 :] if kept >= 0 else []
        length *= 4


def _ends_line(row: bytes) -> bool:
    entry = _entry(row)
    return entry is not None and entry.text.endswith(b"\n")
