"""Open files that the kernel reads and writes by itself, in the file behind them (Linux 6.9).

An open is answered with the id of a backing file; READ, WRITE and mmap of that open then bypass
the daemon and share the host's page cache. Traps, each of which would cost data:

- The kernel opens the backing file anew with the user's flags and our rights: a layer's file may
  back an open only where nothing can be written, since the union has no upper. Its descriptor
  comes from a read-only clone of the mount besides.
- A write that does not pass us leaves set-id bits as they are: no file of an upper backs an open.
- One inode has one backing file while it is open, and never both kinds of open: how the first
  live open was answered decides for those that follow, until the last one closes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

from overlayfs_py.drivers.direct_operations import DirectOperations
from overlayfs_py.syscalls import fuse_device
from overlayfs_py.wire import replies, requests
from overlayfs_py.wire.protocol import OpenFlag

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.drivers.direct_shared import Answer
    from overlayfs_py.drivers.uses import Uses
    from overlayfs_py.union.core import Node, Union
    from overlayfs_py.wire.requests import Body, Header

_CACHED = 0  # not an id: ids that the kernel gives begin at 1


class LiveOpens:
    """The opens of one node, all of one kind."""

    __slots__ = ("backing", "count")

    def __init__(self, backing: int) -> None:
        self.backing = backing  # the id of the backing file, or _CACHED
        self.count = 0


class BackingFiles:
    """Which nodes are open, and what backs them."""

    def __init__(self, union: Union, device_fd: int) -> None:
        self._union = union
        self._device_fd = device_fd
        self._live: dict[int, LiveOpens] = {}
        self.allowed = False  # until the kernel has agreed to it

    def open(self, node: Node) -> bytes:
        """Count one more open of a node, and return what OPEN answers."""
        live = self._live.get(node.ino)
        if live is None:
            live = self._live[node.ino] = LiveOpens(self._register(node))
        live.count += 1
        if live.backing == _CACHED:
            return replies.opened(0, OpenFlag.KEEP_CACHE)
        return replies.opened(0, OpenFlag.PASSTHROUGH, live.backing)

    def release(self, ino: int) -> None:
        """Count one open less; the last one gives the backing file back."""
        live = self._live.get(ino)
        if live is None:
            return
        live.count -= 1
        if live.count == 0:
            del self._live[ino]
            if live.backing != _CACHED:
                fuse_device.close_backing(self._device_fd, live.backing)

    def _register(self, node: Node) -> int:
        fd = self._union.open_backing(node) if self.allowed else None
        if fd is None:
            return _CACHED
        try:
            return fuse_device.open_backing(self._device_fd, fd)
        finally:
            os.close(fd)


class PassthroughOperations(DirectOperations):
    """The request handlers of a mount with `io=passthrough`: here the kernel asks at every open."""

    def __init__(
        self,
        union: Union,
        notify: Callable[[bytes], None],
        uses: Uses,
        files: BackingFiles,
    ) -> None:
        super().__init__(union, notify, uses)
        self._files = files

    def open(self, header: Header, body: requests.Open) -> Answer:
        """OPEN."""
        node = self._node(header.node)
        flags = body.flags
        if flags & os.O_ACCMODE == os.O_RDONLY:
            self._union.open_file(node, write=False)
            return self._files.open(node)
        if self._copy_ups.is_long(node):
            return self._open_later(node)
        self._union.open_file(node, write=True)
        return self._files.open(node)

    async def _open_later(self, node: Node) -> bytes:
        await self._copied_up(node)
        self._union.open_file(node, write=True)
        return self._files.open(node)

    def create(self, header: Header, new: requests.Create) -> Answer:
        """CREATE."""
        return self._with_open(cast("bytes", super().create(header, new)))

    def tmpfile(self, header: Header, new: requests.Create) -> Answer:
        """TMPFILE."""
        return self._with_open(cast("bytes", super().tmpfile(header, new)))

    def _with_open(self, answer: bytes) -> bytes:
        entry = answer[: replies.ENTRY_SIZE]
        return entry + self._files.open(self._node(replies.node_of(entry)))

    def release(self, header: Header, _body: Body) -> Answer:
        """RELEASE; RELEASEDIR does not come, directories are opened without a message."""
        # By number: nothing may keep an open from being counted down.
        self._files.release(header.node)
        return b""
