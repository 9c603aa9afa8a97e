"""The data of one file of a pack."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.packs.chunks import WouldWait
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import Flag
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.packs.chunks import Chunks
    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.index import Index

# Decompressing a chunk of 128 KiB and verifying it takes about as long as the hop to a thread
# and back.
_MOST_INLINE = 2
# Whoever makes a pack may say that each byte is a piece of its own.
_MOST_PIECES = 512
# To look for a hole through so many takes 2 ms.
_MOST_LOOKED_AT = 4096
_WRITTEN_STEP = 8 << 20  # bytes that the disk is told of at a time


class PackReader:
    """Reads a file; it holds nothing open, and may be used in any thread while its pack is open."""

    __slots__ = ("_chunks", "_first", "_index", "_inode", "_is_inline", "_mask", "_path", "_size")

    def __init__(self, index: Index, chunks: Chunks, inode: Inode, path: bytes) -> None:
        """Read what `inode`, a regular file, holds."""
        self._index = index
        self._chunks = chunks
        self._inode = inode
        self._size = inode.size
        self._first = inode.first
        self._is_inline = bool(inode.flags & Flag.INLINE)
        self._mask = (1 << chunks.log2) - 1
        self._path = path

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end of the file."""
        end = min(offset + size, self._size)
        if self._is_in_one_chunk(offset, end):
            return self._cut_from_one(offset, end)
        pieces = []
        here = offset
        for place, length, address in self._extents(offset, end):
            if place > here:
                pieces.append(bytes(place - here))
            pieces += [self._cut(*piece) for piece in self._by_chunk(address, length)]
            here = place + length
        if here < end:
            pieces.append(bytes(end - here))
        return b"".join(pieces)

    def try_read(self, offset: int, size: int) -> bytes | None:
        """Return what `read` would, None where that takes long: then `read` in a thread."""
        end = min(offset + size, self._size)
        missing = pieces = 0
        try:
            if self._is_in_one_chunk(offset, end):
                return self._cut_from_one(offset, end, wait=False)
            for _, length, address in self._extents(offset, end):
                pieces += 1
                if pieces > _MOST_PIECES:
                    return None
                for number, _, _ in self._by_chunk(address, length):
                    if self._chunks.find(number) is not None:
                        continue
                    missing += 1
                    if missing > _MOST_INLINE:
                        return None
                    self._chunks.get(number, wait=False)
        except WouldWait:
            return None
        return self.read(offset, size)

    def is_away(self, offset: int, size: int) -> bool:
        """Whether some of a range has still to come from another machine.

        Where that would take long to tell it is true.
        """
        chunks = self._chunks
        if chunks.arrivals is None:
            return False
        looked_at = 0
        for _, length, address in self._extents(offset, min(offset + size, self._size)):
            for number, _, _ in self._by_chunk(address, length):
                looked_at += 1
                if looked_at > _MOST_LOOKED_AT or chunks.is_away(number):
                    return True
        return False

    def bring(self) -> None:
        """Wait until all of the file is here; for a thread."""
        for number in self.chunks():
            self._chunks.bring(number)

    def copy_to(self, target_fd: int, size: int, *, syncs_soon: bool = False) -> None:
        """Write the first `size` bytes to an empty file, keeping holes."""
        begun = 0
        for place, length, address in self._extents(0, min(size, self._size)):
            here = place
            for number, start, part in self._by_chunk(address, length):
                # A large file would push everything else out of the cache.
                chunk = self._chunks.find(number) or self._chunks.load(number)
                self._require(start + part <= len(chunk), number)
                _write(target_fd, memoryview(chunk)[start : start + part], here)
                here += part
                if syncs_soon and here - begun >= _WRITTEN_STEP:
                    files.begin_writing(target_fd, begun, here - begun)
                    begun = here
        os.ftruncate(target_fd, size)

    def seek(self, offset: int, whence: int) -> int:
        """Return where the next data or hole begins, as lseek(2) with SEEK_DATA or SEEK_HOLE.

        Behind very many pieces without a hole all is taken for data, as lseek(2) allows.
        """
        size = self._size
        if not 0 <= offset < size:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        here = offset
        for seen, (place, length, _) in enumerate(self._extents(offset, size)):
            if whence == os.SEEK_DATA:
                return place
            if place > here:
                break
            here = place + length
            if seen == _MOST_LOOKED_AT:
                return size
        if whence == os.SEEK_DATA:
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO))
        return here

    def data_ranges(self) -> Iterator[tuple[int, int]]:
        """Yield where data begins and ends, in order; the rest is holes."""
        return ((place, place + length) for place, length, _ in self._extents(0, self._size))

    def chunks(self) -> Iterator[int]:
        """Yield the numbers of the chunks that it lies in, as far as there are such."""
        for _, length, address in self._extents(0, self._size):
            last = (address + length - 1) >> self._chunks.log2
            yield from range(address >> self._chunks.log2, min(last + 1, self._index.chunks))

    def close(self) -> None:
        """Nothing to give back."""

    def _extents(self, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        if start >= end:
            return iter(())
        if self._is_inline:
            return iter(((start, end - start, self._first + start),))
        return self._index.extents(self._inode, start, end)

    def _by_chunk(self, address: int, length: int) -> Iterator[tuple[int, int, int]]:
        """Cut a piece into parts of one chunk each: the chunk's number, the start in it, a length.

        All chunks of a piece but the last are full ones.
        """
        while length > 0:
            start = address & self._mask
            part = min(length, self._mask + 1 - start)
            yield address >> self._chunks.log2, start, part
            address += part
            length -= part

    def _is_in_one_chunk(self, start: int, end: int) -> bool:
        return self._is_inline and 0 < end - start <= self._mask + 1 - (
            self._first + start & self._mask
        )

    def _cut_from_one(self, start: int, end: int, *, wait: bool = True) -> bytes:
        address = self._first + start
        number = address >> self._chunks.log2
        return self._cut(number, address & self._mask, end - start, wait=wait)

    def _cut(self, number: int, start: int, length: int, *, wait: bool = True) -> bytes:
        chunk = self._chunks.get(number, wait=wait)
        if start == 0 and length == len(chunk):
            return chunk
        self._require(start + length <= len(chunk), number)
        return chunk[start : start + length]

    def _require(self, true: bool, number: int) -> None:
        if not true:
            raise CorruptLayer(self._path, f"chunk {number} is shorter than a file in it")


def _write(fd: int, data: memoryview, offset: int) -> None:
    while data:
        done = os.pwrite(fd, data, offset)
        data = data[done:]
        offset += done
