"""Calls that may take long, in threads, so many at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from overlayfs_py.late_import import LateModule

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio
else:
    trio = LateModule("trio")

Result = TypeVar("Result")

# Readers that wait for another machine; they need no processor. Guess: more than a program has
# threads that read at once.
MOST_ARRIVALS = 64


class Threads:
    """Up to a number of threads for one kind of work."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self, call: Callable[[], Result]) -> Result:
        """Call it in a thread, once there is a free one; who waits cannot be cancelled."""
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(self._most)
        return await trio.to_thread.run_sync(call, limiter=self._limiter)

    async def run_begun(self, begin: Callable[[], Callable[[], Result]]) -> Result:
        """Call `begin` once there is a free thread, and there what it returns.

        So what `begin` opens is open as often as there are threads, however many wait.
        """
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(self._most)
        async with self._limiter:
            call = begin()
            # Whatever is cancelled: it has descriptors that only its end closes.
            with trio.CancelScope(shield=True):
                result = await trio.to_thread.run_sync(call, limiter=trio.CapacityLimiter(1))
        return result
