"""What the request handlers of the direct driver share."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from overlayfs_py.drivers.callers import keeps_set_ids, membership
from overlayfs_py.drivers.copyups import CopyUps
from overlayfs_py.drivers.direct_listing import DirectListings
from overlayfs_py.drivers.hollows import Hollows
from overlayfs_py.drivers.slices import Slices
from overlayfs_py.drivers.threads import MOST_ARRIVALS, Threads
from overlayfs_py.late_import import LateModule
from overlayfs_py.union.steps import NeedsSteps
from overlayfs_py.union.values import Need
from overlayfs_py.wire import protocol, replies

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from overlayfs_py.drivers.uses import Uses
    from overlayfs_py.union.core import Node, Union
    from overlayfs_py.union.values import Attributes
    from overlayfs_py.wire.requests import Body, Header
else:
    trio = LateModule("trio")

Answer = bytes | memoryview | int | Awaitable[bytes]

# Guess: fsync(2) waits for the disk, not for a processor.
_MOST_SYNCS = 8
# Guess: enough to keep a disk busy; decompressing takes a processor each.
_MOST_READS = 4
# Guess: more than a program needs to start.
_EARLY_BYTES = 32 << 20
# Guess: each waits for pages of one file.
_MOST_NOTICES = 4


class SharedOperations:
    """One mount, as its handlers see it."""

    def __init__(self, union: Union, notify: Callable[[bytes], None], uses: Uses) -> None:
        """Serve `union`; `notify` sends a message that answers nothing, `uses` records."""
        self._union = union
        self._uses = uses
        self._notify = notify
        self._slices = Slices()
        self._copy_ups = CopyUps(union, self._slices)
        self._listings = DirectListings(union, self._slices, self._entry_held)
        self._syncs = Threads(_MOST_SYNCS)
        self._reads = Threads(_MOST_READS)
        self._arrivals = Threads(MOST_ARRIVALS)
        self._notices = Threads(_MOST_NOTICES)
        self._hollows = Hollows()
        self._nodes_by_id = union.finder
        self._root = union.root
        # What READ answers with, until the next one: its answer is written at once.
        self._room = memoryview(bytearray(1 << 17))
        self.kernel_keeps_times = False  # of files: under write-back
        # What may still be decompressed at once, before trio is there: for the program that is
        # being started, which waits for each answer. Readers of more are worth threads.
        self.early_bytes = _EARLY_BYTES

    def _node(self, ino: int) -> Node:
        return self._root if ino == protocol.ROOT_ID else self._nodes_by_id(ino)

    async def after_steps(
        self,
        needed: NeedsSteps,
        handler: Callable[[Header, Body], Answer],
        header: Header,
        body: Body,
    ) -> bytes:
        """Take the steps that a change needs, then answer; of a request that was kept."""
        while True:
            await self._slices.run(needed.steps)
            try:
                answer = handler(header, body)
                if isinstance(answer, int):
                    raise OSError(answer, os.strerror(answer))
                return bytes(answer) if isinstance(answer, bytes | memoryview) else await answer
            except NeedsSteps as more:
                needed = more

    async def _copied_up(self, node: Node, need: Need = Need.DATA) -> None:
        """Have a node copied up; who is cancelled meanwhile must not change it afterwards.

        A killed caller has its answer by then, and may have been followed by others.
        """
        # With its caller gone the kernel may forget the node before the copy is in place.
        self._union.hold(node)
        try:
            await self._copy_ups.ensure(node, need)
        finally:
            self._union.release(node.ino, 1)
        await trio.lowlevel.checkpoint_if_cancelled()

    def _made(self, node: Node) -> bytes:
        return self._entry_held(node, self._union.attributes(node))

    def _entry_held(self, node: Node, found: Attributes) -> bytes:
        """The answer after which the kernel refers to `node` once more."""
        self._union.hold(node)
        return replies.entry(node.ino, found, replies.NEVER if node.cacheable else 0)

    def _kill_privileges(self, header: Header, node: Node) -> None:
        # The kernel remembers the mode, which exec(2) goes by.
        if self._union.kill_privileges(node, membership(header.gid, header.pid)):
            self._outdate_attributes(node)

    def _kill_unless_privileged(self, header: Header, node: Node) -> None:
        """Clear privileges for a change that carries no flag for that, as WRITE does."""
        has_set_ids = self._union.attributes(node).mode & (stat.S_ISUID | stat.S_ISGID)
        if has_set_ids and not keeps_set_ids(header.uid, header.pid):
            self._kill_privileges(header, node)

    def _outdate_attributes(self, node: Node) -> None:
        # Attributes alone are safe to outdate inside a request: that takes no lock
        # (fs/fuse/inode.c, fuse_reverse_inval_inode).
        self._notify(replies.attributes_changed(node.ino))
