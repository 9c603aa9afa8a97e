"""Compressed bytes in, the tar's bytes out, and the digests of both: as a push or as a pull.

Members and frames may follow each other, as Go's readers take them; anything else behind the last
is an error, as it is there, and so is a stream that is cut short.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from overlayfs_py.tars.engines import ENGINES, MOST_MAGIC, Compression, sniff
from overlayfs_py.tars.errors import BadCompression, TooLarge

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.tars.engines import Engine

# A block leaves the second level cache warm for whoever reads it next (measured: 128 KiB to 512 KiB
# are alike, 1 MiB is a tenth slower).
_BLOCK_BYTES = 256 << 10


class Tally:
    """How many bytes there were, and their SHA-256."""

    def __init__(self) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()

    def add(self, data: bytes) -> None:
        """Count some bytes."""
        self.size += len(data)
        self._sha256.update(data)

    @property
    def digest(self) -> bytes:
        """The 32 bytes of the SHA-256 so far."""
        return self._sha256.digest()


class Decompressor:
    """Takes a stream in pieces as they come, gives it out in bounded blocks.

    Exhaust what `feed` returns before the next piece. `limit` bounds the uncompressed size.
    All calls may be made from one thread after another; the libraries release the lock.
    """

    def __init__(self, *, limit: int | None = None) -> None:
        self.packed = Tally()
        self.unpacked = Tally()
        self.compression: Compression | None = None  # None: not enough seen
        self._limit = limit
        self._head = b""  # of the stream or of the next member: too short to tell what it is
        self._engine: Engine | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take a piece; yield what comes of it.

        Raises:
            BadCompression: it is damaged, or follows the end.
            TooLarge: it becomes more than the limit.
        """
        self.packed.add(data)
        for block in self._unpack(data):
            self._count(block)
            yield block

    def finish(self) -> Iterator[bytes]:
        """Say that the stream has ended; yield what waited for more.

        Raises:
            BadCompression: it is cut short.
        """
        head, self._head = self._head, b""
        if self.compression is None:
            self.compression = sniff(head)
            if self.compression is Compression.PLAIN:
                self._count(head)
                yield head
                return
            yield from self._unpack(head)
        elif head:
            raise self._bad("something else follows the compressed data")
        if self._engine is not None or self._head:
            raise self._bad("it is cut short")

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        if self.compression is None:
            self._head += data
            if len(self._head) < MOST_MAGIC:
                return
            data, self._head = self._head, b""
            self.compression = sniff(data)
        if self.compression is Compression.PLAIN:
            yield data
        else:
            yield from self._members(data)

    def _members(self, data: bytes) -> Iterator[bytes]:
        while data or self._engine is not None:
            if self._engine is None:
                data, self._head = self._head + data, b""
                self._engine = self._open(data)
                if self._engine is None:
                    self._head = data
                    return
            block = self._decompress(self._engine, data)
            data = b""
            if block:
                yield block
            if self._engine.eof:
                data, self._engine = self._engine.unused_data, None
            elif self._engine.needs_input:
                return

    def _open(self, data: bytes) -> Engine | None:
        """Return an engine for the member that begins here; None: more is needed to tell."""
        assert self.compression is not None
        engines = ENGINES[self.compression]
        if data.startswith(engines.magics):
            return engines.open()
        if any(magic.startswith(data) for magic in engines.magics):
            return None
        raise self._bad("something else follows the compressed data")

    def _decompress(self, engine: Engine, data: bytes) -> bytes:
        assert self.compression is not None
        try:
            return engine.decompress(data, _BLOCK_BYTES)
        except ENGINES[self.compression].failures as error:
            raise self._bad(f"{self.compression.value}: {error}") from None

    def _count(self, block: bytes) -> None:
        if self._limit is not None and self.unpacked.size + len(block) > self._limit:
            raise TooLarge(self._limit)
        self.unpacked.add(block)

    def _bad(self, why: str) -> BadCompression:
        return BadCompression(why, self.packed.size)


class LayerStream:
    """A stream that is pulled: blocks of a tar from compressed blocks of any size."""

    def __init__(self, blocks: Iterable[bytes], *, limit: int | None = None) -> None:
        self._blocks = blocks
        self._decompressor = Decompressor(limit=limit)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the tar's blocks; once.

        Raises:
            BadCompression, TooLarge: see `Decompressor`.
        """
        for block in self._blocks:
            yield from self._decompressor.feed(block)
        yield from self._decompressor.finish()

    @property
    def compression(self) -> Compression | None:
        """How it was compressed; None before enough was seen."""
        return self._decompressor.compression

    @property
    def packed(self) -> Tally:
        """What came in: at the end the blob's digest and size."""
        return self._decompressor.packed

    @property
    def unpacked(self) -> Tally:
        """What went out: at the end the diff ID and the tar's size."""
        return self._decompressor.unpacked
