"""The request handlers of the direct driver that read and write files."""

from __future__ import annotations

import errno
import os
from functools import partial
from typing import TYPE_CHECKING

from overlayfs_py.drivers.direct_shared import SharedOperations
from overlayfs_py.drivers.direct_values import copied_by_pages
from overlayfs_py.drivers.hollows import Hollow, empties_partial_pages
from overlayfs_py.late_import import LateModule
from overlayfs_py.union.contents import Arriving
from overlayfs_py.wire import protocol, replies, requests

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from overlayfs_py.drivers.direct_shared import Answer
    from overlayfs_py.union.core import Node
    from overlayfs_py.wire.requests import Body, Header

else:
    trio = LateModule("trio")

_FEW = 1024  # pieces of a pack's file: of no use to a program that starts
_NOTHING = b""
_COPIED = 1 << 20  # bytes of a pack's file that are copied at a time; the caller asks again


class DataOperations(SharedOperations):
    """READ, WRITE and what else is about a file's data."""

    def read(self, header: Header, wanted: requests.Read) -> Answer:
        """READ."""
        if wanted.size > len(self._room):
            self._room = memoryview(bytearray(wanted.size))
        room = self._room[: wanted.size]
        node = self._node(header.node)
        data = self._union.begin_read_into(node, wanted.offset, room)
        if not callable(data):
            return data
        if isinstance(data, Arriving):
            return self._read_later(data)
        # A thread to decompress in would have to wait for trio.
        if self.early_bytes > 0 and self._union.copy_up_pieces(node) <= _FEW:
            self.early_bytes -= wanted.size
            return data()
        return self._read_later(data)

    async def _read_later(self, read: Callable[[], bytes]) -> bytes:
        threads = self._arrivals if isinstance(read, Arriving) else self._reads
        return await threads.run(read)

    def write(self, header: Header, new: requests.Write) -> Answer:
        """WRITE."""
        node = self._node(header.node)
        if self._copy_ups.is_long(node):
            # The buffer belongs to the next request by the time the copy is done.
            return self._write_later(header, node, new._replace(data=memoryview(bytes(new.data))))
        return self._write(header, node, new)

    async def _write_later(self, header: Header, node: Node, new: requests.Write) -> bytes:
        await self._copied_up(node)
        return self._write(header, node, new)

    def _write(self, header: Header, node: Node, new: requests.Write) -> bytes:
        if new.flags & protocol.WRITE_KILL_SUIDGID:
            self._kill_privileges(header, node)
        if new.open_flags & os.O_APPEND and not node.cacheable:
            # Where the kernel thinks that the file ends, others have written meanwhile.
            return replies.written(self._union.append(node, new.data))
        if new.flags & protocol.WRITE_CACHE and self._hollows:
            new = new._replace(data=self._hollows.emptied(node.ino, new.offset, new.data))
        collected = self.kernel_keeps_times and new.flags & protocol.WRITE_CACHE
        write = self._union.write_back if collected else self._union.write
        size = write(node, new.offset, new.data)
        if size < len(new.data) and new.flags & protocol.WRITE_CACHE:
            # The kernel looks at no size here, and would take the rest for written.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replies.written(size)

    def fsync(self, header: Header, body: requests.Fsync) -> Answer:
        """FSYNC and FSYNCDIR."""
        data_only = bool(body.flags & protocol.FSYNC_FDATASYNC)
        return self._sync(self._node(header.node), data_only)

    async def _sync(self, node: Node, data_only: bool) -> bytes:
        await self._syncs.run_begun(lambda: self._union.sync(node, data_only=data_only))
        return _NOTHING

    def release(self, _header: Header, _body: Body) -> Answer:
        """RELEASE and RELEASEDIR of what was open before the kernel learned to do without."""
        return _NOTHING

    def fallocate(self, header: Header, wanted: requests.Fallocate) -> Answer:
        """FALLOCATE."""
        node = self._node(header.node)
        if empties_partial_pages(wanted.mode, wanted.offset, wanted.length):
            return self._hollow(header, node, wanted)
        if self._copy_ups.is_long(node):
            return self._fallocate_later(header, node, wanted)
        return self._fallocate(header, node, wanted)

    async def _fallocate_later(
        self, header: Header, node: Node, wanted: requests.Fallocate
    ) -> bytes:
        await self._copied_up(node)
        return self._fallocate(header, node, wanted)

    async def _hollow(self, header: Header, node: Node, wanted: requests.Fallocate) -> bytes:
        await self._copied_up(node)
        start, length = wanted.offset, wanted.length
        with self._hollows.made(Hollow(node.ino, start, start + length)):
            answer = self._fallocate(header, node, wanted)
            forget = partial(self._notify, replies.pages_changed(node.ino, start, length))
            # Shielded: of a killed caller the kernel does not empty its pages.
            with trio.CancelScope(shield=True):
                await self._notices.run(forget)
        return answer

    def _fallocate(self, header: Header, node: Node, wanted: requests.Fallocate) -> bytes:
        self._kill_unless_privileged(header, node)
        self._union.allocate(node, wanted.mode, wanted.offset, wanted.length)
        return _NOTHING

    def lseek(self, header: Header, wanted: requests.Lseek) -> Answer:
        """LSEEK, for SEEK_DATA and SEEK_HOLE."""
        node = self._node(header.node)
        return replies.position(self._union.seek(node, wanted.offset, wanted.whence))

    def copy_file_range(self, header: Header, wanted: requests.CopyFileRange) -> Answer:
        """COPY_FILE_RANGE, in pieces: others are answered between them."""
        target = self._node(wanted.node_out)
        length = copied_by_pages(wanted, self._union.attributes(target).size)
        if not length:
            return errno.EOPNOTSUPP  # the kernel copies by itself, through its page cache
        return self._copy(header, target, wanted._replace(length=length))

    async def _copy(self, header: Header, target: Node, wanted: requests.CopyFileRange) -> bytes:
        await self._copied_up(target)
        source = self._node(header.node)
        self._kill_unless_privileged(header, target)
        try:
            copied = self._union.copy_range(
                source, wanted.offset_in, target, wanted.offset_out, wanted.length
            )
        except BlockingIOError:
            data = await self._read_now(source, wanted.offset_in, min(wanted.length, _COPIED))
            copied = self._union.write(target, wanted.offset_out, data)
        return replies.written(copied)

    async def _read_now(self, node: Node, offset: int, size: int) -> bytes:
        data = self._union.begin_read(node, offset, size)
        if isinstance(data, bytes):
            return data
        read = await self._read_later(data)
        await trio.lowlevel.checkpoint_if_cancelled()
        return read
