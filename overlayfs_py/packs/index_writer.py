"""The index on its way into a pack, with a digest of each of its pages."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from overlayfs_py.packs.format import PAGE_SIZE

if TYPE_CHECKING:
    from collections.abc import Callable


class IndexWriter:
    """Digests what passes through, page by page."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._digests = bytearray()
        self._page = hashlib.sha256()
        self.length = 0

    def write(self, data: bytes | bytearray) -> None:
        """Append to the index."""
        view = memoryview(data)
        while view:
            room = PAGE_SIZE - self.length % PAGE_SIZE
            piece = view[:room]
            self._page.update(piece)
            self.length += len(piece)
            if len(piece) == room:
                self._end_page()
            view = view[room:]
        self._write(bytes(data))

    def finish(self) -> bytes:
        """Return the digests, one for each page; the last page may be short."""
        if self.length % PAGE_SIZE:
            self._end_page()
        return bytes(self._digests)

    def _end_page(self) -> None:
        self._digests += self._page.digest()
        self._page = hashlib.sha256()
