"""Several tasks, of which one failure is enough: that one is raised, the others are cancelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable


async def run_together(tasks: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """Run all tasks; the first OSError of one cancels the others, and is raised by itself.

    Bugs come as trio has them, in groups.
    """
    failures: list[OSError] = []
    async with trio.open_nursery() as nursery:

        async def run(task: Callable[[], Awaitable[None]]) -> None:
            try:
                await task()
            except OSError as error:
                failures.append(error)
                nursery.cancel_scope.cancel()

        for task in tasks:
            nursery.start_soon(run, task)
    if failures:
        raise failures[0]


def alone(error: BaseException) -> BaseException:
    """Return the one exception in a group of one, in a group of one ...; others as they are."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
