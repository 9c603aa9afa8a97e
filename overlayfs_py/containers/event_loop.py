"""A loop over descriptors and deadlines for processes that must start at once.

trio would do more, but takes as long to load as a container takes to start (docs/design/0002), and
a process of this kind stays beside every container.
"""

from __future__ import annotations

import heapq
import itertools
import select
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Callback = Callable[[], None]

READABLE = select.POLLIN
WRITABLE = select.POLLOUT


class Timer:
    """A call that is due at a time; `cancel` may come at any time."""

    __slots__ = ("_callback",)

    def __init__(self, callback: Callback) -> None:
        self._callback: Callback | None = callback

    def cancel(self) -> None:
        self._callback = None

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class EventLoop:
    """Calls back when a descriptor is ready or a time has come."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[tuple[float, int, Timer]] = []  # a heap; the number breaks ties
        self._numbers = itertools.count()

    def watch(self, fd: int, events: int, callback: Callback) -> None:
        """Call back whenever `fd` is ready for `events`, or its other end has gone.

        A second call for a descriptor replaces the first. With `events` 0 only the end counts.
        """
        self._poll.register(fd, events)
        self._callbacks[fd] = callback

    def forget(self, fd: int) -> None:
        """Stop watching, before the descriptor is closed; does nothing for an unknown one."""
        if self._callbacks.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def call_later(self, seconds: float, callback: Callback) -> Timer:
        """Call back once, after `seconds`."""
        timer = Timer(callback)
        due = time.monotonic() + seconds
        heapq.heappush(self._timers, (due, next(self._numbers), timer))
        return timer

    def run_until(self, is_done: Callable[[], bool]) -> None:
        """Wait and call back until `is_done`, which is asked after every round."""
        while not is_done():
            for fd, _ in self._poll.poll(self._milliseconds_left()):
                # A callback before this one may have closed it.
                callback = self._callbacks.get(fd)
                if callback is not None:
                    callback()
            self._fire()

    def _milliseconds_left(self) -> float | None:
        if not self._timers:
            return None
        return max(0.0, (self._timers[0][0] - time.monotonic()) * 1000)

    def _fire(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2].fire()
