"""Work of the union that takes long, some milliseconds at a time, between other requests."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from overlayfs_py.late_import import LateModule

if TYPE_CHECKING:
    from collections.abc import Generator

    import trio
else:
    trio = LateModule("trio")

Result = TypeVar("Result")

# Each that is under way delays every request by a slice, and holds a descriptor.
_MOST = 4
# Guess: a few requests' time, and enough that switching costs nothing.
_SLICE_S = 0.002


class Slices:
    """So many pieces of long work at a time; the others wait for their turn."""

    def __init__(self) -> None:
        self._limiter: trio.CapacityLimiter | None = None

    async def run(self, steps: Generator[None, None, Result]) -> Result:
        """Take all steps; returns what the last one does. Anything may happen between two."""
        if self._limiter is None:
            self._limiter = trio.CapacityLimiter(_MOST)
        with closing(steps):
            async with self._limiter:
                while True:
                    ended = _take_some(steps)
                    # A caller that was killed meanwhile wants no result.
                    await trio.lowlevel.checkpoint()
                    if ended is not None:
                        result: Result = ended.value
                        return result


def _take_some(steps: Generator[None, None, Result]) -> StopIteration | None:
    until = time.monotonic() + _SLICE_S
    while time.monotonic() < until:
        try:
            next(steps)
        except StopIteration as ended:
            return ended
    return None
