"""Work that takes long, in steps between which others are answered; a step ends at a `yield`."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")
Steps = Generator[None, None, Result]

_STEP = 512  # names: 1 ms


class NeedsSteps(OSError):
    """Nothing was changed: it would take long. Ask again when these steps have been taken."""

    def __init__(self, steps: Steps[None]) -> None:
        super().__init__(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.steps = steps


def finished(steps: Steps[Result]) -> Result:
    """Take all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: Result = end.value
            return result


def batches(items: Iterator[Item]) -> Iterator[list[Item]]:
    """As many as one step takes, each time."""
    while batch := list(islice(items, _STEP)):
        yield batch
