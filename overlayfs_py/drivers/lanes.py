"""Lanes: volumes that may not answer, each with a thread of its own at a time.

Who asks for such a volume waits in its lane, and nobody else does. What is asked there is done one
after the other, so each call is atomic to those in the same lane as it is in the union.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from overlayfs_py.late_import import LateModule
from overlayfs_py.layers.numbering import tree_index_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from overlayfs_py.union.core import SlowVolume, Union
else:
    trio = LateModule("trio")

Result = TypeVar("Result")


class Lane:
    """One volume's."""

    def __init__(self, volume: SlowVolume) -> None:
        self.volume = volume
        # References that the kernel has given up, which nobody has to wait for: the next call
        # counts them.
        self.forgotten: deque[tuple[int, int]] = deque()
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self, call: Callable[[], Result]) -> Result:
        """Call it in the lane's thread, after those before it.

        Who is cancelled meanwhile does not wait for the call's end; who comes next does.
        """
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(1)

        def locked() -> Result:
            with self.volume.lock:
                return call()

        return await trio.to_thread.run_sync(locked, limiter=self._limiter, abandon_on_cancel=True)


AnyLane = TypeVar("AnyLane", bound=Lane)


class Lanes(Generic[AnyLane]):
    """Those of one mount; none for most."""

    def __init__(self, union: Union, make: Callable[[SlowVolume], AnyLane]) -> None:
        self.all = [make(volume) for volume in union.slow_volumes()]
        self._by_index = {index: lane for lane in self.all for index in lane.volume.indexes}

    def __bool__(self) -> bool:
        return bool(self.all)

    def of(self, ino: int) -> AnyLane | None:
        """The lane that a node belongs to."""
        return self._by_index.get(tree_index_of(ino))
