"""The ways in which a process reads and writes one file."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

from tests.coherence.model import SIZE, Units
from tests.posix import calls
from tests.support import aio

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

_ZERO_RANGE = 16  # linux/falloc.h


class Views:
    """One file, open in every way; `aside` is a name in the same filesystem for a file of its own.

    Data goes out and comes in by whole units. The file has its full size meanwhile.
    """

    def __init__(self, path: Path, aside: Path, opened: ExitStack) -> None:
        self.path = path
        self.fd = self._open(opened, path, os.O_RDWR)
        self._direct = self._open(opened, path, os.O_RDWR | os.O_DIRECT)
        self._appending = self._open(opened, path, os.O_WRONLY | os.O_APPEND)
        self._aside = self._open(opened, aside, os.O_RDWR | os.O_CREAT)
        self._memory = os.memfd_create("coherence")
        opened.callback(os.close, self._memory)
        self._pipe = os.pipe()
        for end in self._pipe:
            opened.callback(os.close, end)
        self.map = opened.enter_context(mmap.mmap(self.fd, SIZE))
        self._buffer = opened.enter_context(mmap.mmap(-1, SIZE))
        self._queue = opened.enter_context(aio.queue())

    @staticmethod
    def _open(opened: ExitStack, path: Path, flags: int) -> int:
        fd = os.open(path, flags, 0o600)
        opened.callback(os.close, fd)
        return fd

    # Reading

    def read_buffered(self, units: Units) -> bytes:
        return os.pread(self.fd, units.size, units.offset)

    def read_mapped(self, units: Units) -> bytes:
        return self.map[units.offset : units.offset + units.size]

    def read_private(self, units: Units) -> bytes:
        # No longer than the units: Python refuses what is longer than the file at the moment.
        end = units.offset + units.size
        with mmap.mmap(self.fd, end, mmap.MAP_PRIVATE) as private:
            return private[units.offset : end]

    def read_direct(self, units: Units) -> bytes:
        pages = units.whole_pages()
        with memoryview(self._buffer)[: pages.size] as buffer:
            done = os.preadv(self._direct, [buffer], pages.offset)
        return self._part(units, pages, done)

    def read_async(self, units: Units) -> bytes:
        pages = units.whole_pages()
        with memoryview(self._buffer)[: pages.size] as buffer:
            self._queue.submit(aio.PREAD, self._direct, buffer, pages.offset)
            done = self._queue.finish()
        return self._part(units, pages, done)

    def _part(self, units: Units, pages: Units, done: int) -> bytes:
        start = units.offset - pages.offset
        return self._buffer[start : min(start + units.size, done)]

    # Of an open file that somebody changes behind the mount, sendfile(2) and splice(2) take what
    # was there at the last look: the kernel does not ask (fs/fuse/file.c, fuse_splice_read).

    def read_sent(self, units: Units) -> bytes:
        os.fstat(self.fd)
        os.lseek(self._memory, 0, os.SEEK_SET)
        done = os.sendfile(self._memory, self.fd, units.offset, units.size)
        return os.pread(self._memory, done, 0)

    def read_spliced(self, units: Units) -> bytes:
        os.fstat(self.fd)
        reader, writer = self._pipe
        done = os.splice(self.fd, writer, min(units.size, 1 << 15), offset_src=units.offset)
        data = os.read(reader, done)
        return data + os.pread(self.fd, units.size - done, units.offset + done)

    def read_copied(self, units: Units) -> bytes:
        done = 0
        while done < units.size:
            left = units.size - done
            step = os.copy_file_range(self.fd, self._aside, left, units.offset + done, done)
            if step == 0:
                break
            done += step
        return os.pread(self._aside, done, 0)

    # Writing

    def write_buffered(self, units: Units, data: bytes) -> None:
        assert os.pwrite(self.fd, data, units.offset) == len(data)

    def write_mapped(self, units: Units, data: bytes) -> None:
        self.map[units.offset : units.offset + units.size] = data

    def write_direct(self, units: Units, data: bytes) -> None:
        self._buffer[: len(data)] = data
        with memoryview(self._buffer)[: len(data)] as buffer:
            assert os.pwritev(self._direct, [buffer], units.offset) == len(data)

    def write_async(self, units: Units, data: bytes) -> None:
        self._buffer[: len(data)] = data
        with memoryview(self._buffer)[: len(data)] as buffer:
            self._queue.submit(aio.PWRITE, self._direct, buffer, units.offset)
            assert self._queue.finish() == len(data)

    def write_direct_from_mapping(self, units: Units, data: bytes) -> None:
        """O_DIRECT from a mapping of the same filesystem: its pages are faulted in meanwhile."""
        os.pwrite(self._aside, data, 0)
        with mmap.mmap(self._aside, len(data), mmap.MAP_SHARED) as mapped:
            assert os.pwritev(self._direct, [mapped], units.offset) == len(data)

    def write_sent(self, units: Units, data: bytes) -> None:
        os.pwrite(self._memory, data, 0)
        os.lseek(self.fd, units.offset, os.SEEK_SET)
        done = 0
        while done < len(data):
            done += os.sendfile(self.fd, self._memory, done, len(data) - done)

    def write_spliced(self, units: Units, data: bytes) -> None:
        reader, writer = self._pipe
        done = 0
        while done < len(data):
            step = os.write(writer, data[done : done + 4096])
            assert os.splice(reader, self.fd, step, offset_dst=units.offset + done) == step
            done += step

    def write_copied(self, units: Units, data: bytes) -> None:
        os.pwrite(self._aside, data, 0)
        done = 0
        while done < len(data):
            left, to = len(data) - done, units.offset + done
            done += os.copy_file_range(self._aside, self.fd, left, done, to)

    def copy_within(self, source: Units, target: Units) -> None:
        done = 0
        while done < target.size:
            at = source.offset + done
            to = target.offset + done
            done += os.copy_file_range(self.fd, self.fd, target.size - done, at, to)

    # Holes

    def punch(self, units: Units) -> None:
        calls.fallocate(
            self.fd,
            calls.FALLOC_FL_PUNCH_HOLE | calls.FALLOC_FL_KEEP_SIZE,
            units.offset,
            units.size,
        )

    def zero(self, units: Units) -> None:
        calls.fallocate(self.fd, _ZERO_RANGE, units.offset, units.size)

    def zero_keeping_size(self, units: Units) -> None:
        mode = _ZERO_RANGE | calls.FALLOC_FL_KEEP_SIZE
        calls.fallocate(self.fd, mode, units.offset, units.size)

    def allocate(self, units: Units) -> None:
        calls.fallocate(self.fd, 0, units.offset, units.size)

    # Sizes: the file ends where `tail` begins, and then has its full size again, all zeros there.

    def grow_by_truncate(self, _tail: Units) -> None:
        os.ftruncate(self.fd, SIZE)

    def grow_by_name(self, _tail: Units) -> None:
        os.truncate(self.path, SIZE)

    def grow_by_write(self, _tail: Units) -> None:
        os.pwrite(self.fd, b"\0", SIZE - 1)

    def grow_by_append(self, tail: Units) -> None:
        assert os.write(self._appending, bytes(tail.size)) == tail.size

    def grow_by_direct(self, _tail: Units) -> None:
        self._buffer[:4096] = bytes(4096)
        with memoryview(self._buffer)[:4096] as buffer:
            assert os.pwritev(self._direct, [buffer], SIZE - 4096) == 4096

    def grow_by_async(self, _tail: Units) -> None:
        self._buffer[:4096] = bytes(4096)
        with memoryview(self._buffer)[:4096] as buffer:
            self._queue.submit(aio.PWRITE, self._direct, buffer, SIZE - 4096)
            assert self._queue.finish() == 4096

    def grow_by_allocation(self, tail: Units) -> None:
        calls.fallocate(self.fd, 0, tail.offset, tail.size)

    def grow_by_copy(self, tail: Units) -> None:
        self.write_copied(tail, bytes(tail.size))
