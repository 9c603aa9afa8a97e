"""Data that comes once and is read later: kept in a file without a name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_STEP = 1 << 20


class Spool:
    """Data that is read again later, one piece behind the other."""

    def __init__(self, file: BinaryIO) -> None:
        """Write to a file that is empty, and the caller's."""
        self._file = file
        self._end = 0

    def add(self, data: bytes | memoryview) -> None:
        self._file.write(data)
        self._end += len(data)

    @property
    def end(self) -> int:
        """Return where the next piece will be."""
        return self._end

    def read(self, offset: int, size: int) -> Iterator[bytes]:
        """Yield `size` bytes from `offset` on."""
        self._file.flush()
        while size > 0:
            piece = os.pread(self._file.fileno(), min(_STEP, size), offset)
            yield piece
            offset, size = offset + len(piece), size - len(piece)
