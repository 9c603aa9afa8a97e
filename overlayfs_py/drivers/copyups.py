"""Copy-ups of large files, in threads, each once however many ask for it.

A change of a file that lies in a lower layer copies it up first. The union does that by itself
inside the changing call, which stops every other request meanwhile; so a driver calls
`CopyUps.ensure` before. Then the changing call finds nothing left to copy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.drivers.threads import MOST_ARRIVALS, Threads
from overlayfs_py.late_import import LateModule
from overlayfs_py.layers.interface import AWAY
from overlayfs_py.union.contents import Arriving
from overlayfs_py.union.steps import NeedsSteps
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    import trio

    from overlayfs_py.drivers.slices import Slices
    from overlayfs_py.union.core import CopyUp, Union
    from overlayfs_py.union.nodes import Node
else:
    trio = LateModule("trio")

# Guess: where copying takes about as long as the hop to a thread and back (165 us of processor
# measured for one beside the next).
_INLINE_SIZE_BYTES = 64 * 1024
# As which each piece of a file counts that a pack has in many: 2 us.
_PIECE_BYTES = 512
# Guess: more than this many copies at a time only compete for the disk.
_MOST_THREADS = 4
# Guess: what others may have to wait for a disk that was as quick as that the last time; as long
# as a burst of their requests takes.
_QUICK_SYNC_S = 0.001


class CopyUps:
    """The copy-ups of one union."""

    def __init__(self, union: Union, slices: Slices) -> None:
        """From now on changes of the union may raise NeedsSteps."""
        union.put_off_long_changes()
        self._union = union
        self._slices = slices
        self._threads = Threads(_MOST_THREADS)
        self._arrivals = Threads(MOST_ARRIVALS)
        # By the ino of the node; set when the copy-up is over, done or not.
        self._running: dict[int, trio.Event] = {}

    def is_long(self, node: Node, need: Need = Need.DATA) -> bool:
        """Whether `ensure` would wait: a change need not call it otherwise."""
        size = self._union.copy_up_size(node, need)
        if self._running and node.ino in self._running and (size or need is not Need.ATTRIBUTES):
            return True
        return size > 0 and not self._is_short(node, size)

    def _is_short(self, node: Node, size_bytes: int) -> bool:
        """Whether a copy of that size goes without a thread."""
        if not size_bytes:
            return True
        pieces = self._union.copy_up_pieces(node)
        return max(size_bytes, pieces * _PIECE_BYTES) <= self._inline_size_bytes

    @property
    def _inline_size_bytes(self) -> int:
        """Up to which size a copy goes without a thread, which costs more than it saves."""
        return _INLINE_SIZE_BYTES if self._union.last_sync_s < _QUICK_SYNC_S else 0

    async def ensure(self, node: Node, need: Need = Need.DATA) -> None:
        """Have `node` copied up, so that a change of it takes no long time.

        Returns without a checkpoint where there is little or nothing to copy: a request that
        needs no thread must not pay for one. Otherwise anything may have happened to the node
        meanwhile, short of being forgotten: it may have lost its name or its data.
        """
        while True:
            if self._union.copy_up_pieces(node) == AWAY:
                await self._bring(node, need)
            while (running := self._in_the_way(node, need)) is not None:
                await running.wait()
            # From here on to the next await nobody else can start one for this node.
            try:
                copy = self._union.begin_copy_up(node, need)
            except NeedsSteps as needed:
                await self._slices.run(needed.steps)
            else:
                break
        if copy is None:
            return
        if self._is_short(node, copy.size_bytes):
            self._transfer(copy)
        else:
            await self._transfer_in_thread(copy, node.ino)

    async def _bring(self, node: Node, need: Need) -> None:
        """Have all of a file here before it is copied: who waits for that keeps no other copy."""
        size = self._union.copy_up_size(node, need)
        data = self._union.begin_read(node, 0, size) if size else b""
        if isinstance(data, Arriving):
            await self._arrivals.run(data.bring)

    def _in_the_way(self, node: Node, need: Need) -> trio.Event | None:
        """The copy-up to wait for: the node's own, or the oldest where there are too many."""
        own = self._running.get(node.ino)
        if own is not None or len(self._running) < _MOST_THREADS:
            return own
        is_short = self._is_short(node, self._union.copy_up_size(node, need))
        return None if is_short else next(iter(self._running.values()))

    def _transfer(self, copy: CopyUp) -> None:
        try:
            copy.transfer()
        except BaseException:
            self._union.abort_copy_up(copy)
            raise
        self._union.commit_copy_up(copy)

    async def _transfer_in_thread(self, copy: CopyUp, ino: int) -> None:
        over = self._running[ino] = trio.Event()
        try:
            await self._threads.run(copy.transfer)
        except BaseException:
            self._union.abort_copy_up(copy)
            raise
        else:
            self._union.commit_copy_up(copy)
        finally:
            del self._running[ino]
            over.set()
