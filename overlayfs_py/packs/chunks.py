"""Chunks of packs: read, verified, decompressed, and kept for a while."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections import OrderedDict
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING

from overlayfs_py.packs.blocks import BadBlock, decompress
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import CHUNK_CODEC_SHIFT, CHUNK_LENGTH_MASK, HEADER, Codec
from overlayfs_py.packs.read_ahead import DEPTH, ReadAhead

if TYPE_CHECKING:
    from overlayfs_py.packs.arrivals import Arrivals
    from overlayfs_py.packs.format import Footer
    from overlayfs_py.packs.index import Index

# What is read stays in the kernel's page cache; here is what small files that share a chunk are
# cut from next, and the pieces of a chunk that several requests ask for.
_CACHE_BYTES = 32 << 20
# What a filesystem says that cannot tell whether it would wait.
_NOT_TOLD = (errno.EOPNOTSUPP, errno.EINVAL)
# How far a reader may skip and still be one who goes on: chunks of large files lie between those
# that small ones share. Guess.
_LARGEST_STEP = 4
# Bytes of a pack. A guess: a disk that turns gives them in the time in which it seeks.
_ASKED_OF_DISK = 1 << 20
# What one who must not wait still does, for a chunk that is nearly there.
_SHORT_S = 0.0005


class WouldWait(Exception):
    """The bytes are not in memory: no error, but the disk has to be asked."""


class WouldArrive(WouldWait):
    """The bytes have to come from another machine first."""


class ChunkCache:
    """Decompressed chunks of all the packs that share it, least recently used thrown out first.

    May be used in any thread.
    """

    def __init__(self, limit_bytes: int = _CACHE_BYTES) -> None:
        self._limit = limit_bytes
        self._held: OrderedDict[tuple[Chunks, int], bytes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        self.ahead = ReadAhead()

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return self._bytes

    def find(self, owner: Chunks, number: int) -> bytes | None:
        """Return a chunk that is there."""
        key = (owner, number)
        with self._lock:
            data = self._held.get(key)
            if data is not None:
                self._held.move_to_end(key)
        return data

    def put(self, owner: Chunks, number: int, data: bytes) -> None:
        """Keep a chunk."""
        with self._lock:
            if self._held.setdefault((owner, number), data) is data:
                self._bytes += len(data)
            while self._bytes > self._limit:
                self._bytes -= len(self._held.popitem(last=False)[1])

    def drop(self, owner: Chunks) -> None:
        """Forget all chunks of a pack."""
        with self._lock:
            for key in [key for key in self._held if key[0] is owner]:
                self._bytes -= len(self._held.pop(key))


def process_cache() -> ChunkCache:
    """Return the cache that all mounts of this process share; a forked one has its own.

    The other's lock may have been taken at the moment of the fork.
    """
    return _cache_of(os.getpid())


@lru_cache(maxsize=1)
def _cache_of(_process: int) -> ChunkCache:
    return ChunkCache()


class Chunks:
    """The chunks of one pack; may be used in any thread."""

    def __init__(
        self,
        fd: int,
        footer: Footer,
        index: Index,
        cache: ChunkCache,
        path: bytes,
        arrivals: Arrivals | None = None,
    ) -> None:
        """Read from `fd`, which stays its owner's; take over `arrivals` of what is not here yet."""
        self.arrivals = arrivals
        self.log2 = footer.chunk_log2
        self._fd = fd
        self._end = footer.index_offset
        self._index = index
        self._cache = cache
        self._path = path
        # 1 where the stored bytes were what they should be. The disk is trusted from then on, as
        # the kernel trusts its page cache: hashing costs as much as reading and decompressing.
        self._verified = bytearray(index.chunks)
        self._tells = True  # whether the filesystem says that a read would wait
        self._last = -_LARGEST_STEP - 1  # the chunk that was asked for last
        self._ahead_end = 0  # those before it are asked for, or were
        self._closed = False

    def find(self, number: int) -> bytes | None:
        """Return a chunk that is in memory already."""
        return self._cache.find(self, number)

    def get(self, number: int, *, wait: bool = True) -> bytes:
        """Return a chunk, keeping it in the cache.

        Raises:
            CorruptLayer: it is damaged.
            WouldWait: with `wait` False, where its bytes must come from the disk.
        """
        if number != self._last:
            self._look_ahead(number)
        data = self._cache.find(self, number)
        if data is None:
            data = self._awaited(number, wait=wait)
        if data is None:
            data = self.load(number, wait=wait)
            self._cache.put(self, number, data)
        return data

    def load_ahead(self, number: int) -> None:
        """Put a chunk into the cache; who wants it is told of its damage, not who looks ahead."""
        if self._closed or number <= self._last or self._cache.find(self, number) is not None:
            return  # too late, or there
        if self.is_away(number):
            return  # this thread is for all packs of the process
        with suppress(CorruptLayer, OSError, MemoryError):
            self._cache.put(self, number, self.load(number))

    def _look_ahead(self, number: int) -> None:
        """Have those loaded that come next, where somebody goes from one to the next."""
        step, self._last = number - self._last, number
        if not 0 < step <= _LARGEST_STEP:
            return
        start = max(number + 1, self._ahead_end if self._ahead_end <= number + DEPTH + 1 else 0)
        end = min(number + 1 + DEPTH, self._index.chunks)
        if start < end:
            self._ahead_end = end
            self._cache.ahead.want(self, range(start, end))

    def _awaited(self, number: int, *, wait: bool) -> bytes | None:
        """A chunk that is being loaded already, None if it is not."""
        ahead = self._cache.ahead
        if not ahead.is_loading(self, number):
            return None
        ahead.wait_for(self, number, None if wait else _SHORT_S)
        if not wait and ahead.is_loading(self, number):
            raise WouldWait
        return self._cache.find(self, number)

    def load(self, number: int, *, wait: bool = True) -> bytes:
        """Return a chunk that is not in the cache, and leave it so."""
        offset, stored, word, digest = self._index.chunk(number)
        codec, length = word >> CHUNK_CODEC_SHIFT, word & CHUNK_LENGTH_MASK
        sane = length <= 1 << self.log2 and stored <= length and codec in (Codec.RAW, Codec.LZ4)
        if not sane or offset < HEADER.size or offset + stored > self._end:
            raise self._damage(number, "its record makes no sense")
        if self.is_away(number):
            self._bring(number, wait=wait)
        block = self._read(offset, stored, wait=wait)
        if not self._verified[number]:
            if hashlib.sha256(block).digest() != digest:
                block = self._read_again(number, offset, stored, wait=wait)
            if hashlib.sha256(block).digest() != digest:
                raise self._damage(number, "its bytes are not those that were written")
            self._verified[number] = 1
        data = self._decoded(number, block, length) if codec == Codec.LZ4 else block
        if len(data) != length:
            raise self._damage(number, f"it holds {len(data)} bytes and should hold {length}")
        return data

    def is_away(self, number: int) -> bool:
        """Whether a chunk's bytes have still to come from another machine."""
        if self.arrivals is None or self._verified[number]:
            return False
        return self._cache.find(self, number) is None and not self.arrivals.has(number)

    def bring(self, number: int) -> None:
        """Wait until a chunk's bytes are here, if they have still to come; for a thread."""
        if self.is_away(number):
            self._bring(number, wait=True)

    def _bring(self, number: int, *, wait: bool) -> None:
        assert self.arrivals is not None, "all of it is here otherwise"
        if not wait:
            raise WouldArrive
        self.arrivals.bring(number)

    def _read_again(self, number: int, offset: int, stored: int, *, wait: bool) -> bytes:
        """Read what was not written completely before a crash, once it has come again."""
        if self.arrivals is None:
            return b""
        if not wait:
            raise WouldArrive
        self.arrivals.bring(number, again=True)
        return self._read(offset, stored, wait=True)

    def close(self) -> None:
        """Give back what the cache holds; the descriptor may be closed then."""
        self._closed = True
        self._cache.ahead.wait_for(self)
        self._cache.drop(self)
        if self.arrivals is not None:
            self.arrivals.close()

    def _decoded(self, number: int, block: bytes, length: int) -> bytes:
        try:
            return decompress(block, length)
        except (BadBlock, ValueError, MemoryError) as error:
            raise self._damage(number, f"it cannot be decompressed ({error})") from None

    def _read(self, offset: int, size: int, *, wait: bool) -> bytes:
        if wait or not self._tells:
            return os.pread(self._fd, size, offset)
        buffer = bytearray(size)
        try:
            done = os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            self._ask_disk(offset)
            raise WouldWait from None
        except OSError as error:
            if error.errno not in _NOT_TOLD:
                raise
            self._tells = False
            return os.pread(self._fd, size, offset)
        if done < size:
            self._ask_disk(offset)
            raise WouldWait
        return bytes(buffer)

    def _ask_disk(self, offset: int) -> None:
        """Have the disk bring more than the one chunk that it is asked for anyway.

        A program that starts reads here and there, in files that lie together.
        """
        os.posix_fadvise(self._fd, offset, _ASKED_OF_DISK, os.POSIX_FADV_WILLNEED)

    def _damage(self, number: int, why: str) -> CorruptLayer:
        return CorruptLayer(self._path, f"chunk {number} is damaged: {why}")
