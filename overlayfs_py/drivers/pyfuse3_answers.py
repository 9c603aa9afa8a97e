"""Make pyfuse3 request handlers of methods that raise what they like.

A handler may raise FUSEError and nothing else: any other exception ends the mount.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyfuse3

from overlayfs_py.drivers.errnos import BugLog, errno_of
from overlayfs_py.union.steps import NeedsSteps

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from overlayfs_py.drivers.pyfuse3_wakeups import Wakeups
    from overlayfs_py.drivers.slices import Slices


class Handlers(Protocol):
    """What owns the methods."""

    bugs: BugLog
    wakeups: Wakeups
    slices: Slices


S = TypeVar("S", bound=Handlers)
P = ParamSpec("P")
R = TypeVar("R")


def at_once(
    method: Callable[Concatenate[S, P], R],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a handler of a method that cannot wait: no other request is answered meanwhile."""

    @functools.wraps(method)
    async def handler(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            while True:
                try:
                    return method(self, *args, **kwargs)
                except NeedsSteps as needed:
                    await _take(self, needed)
        except Exception as error:
            raise _answer(self, method.__name__, error) from None

    return handler


def mostly_at_once(
    method: Callable[Concatenate[S, P], R | Awaitable[R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a handler of a method that returns its answer, or what has to be awaited for it."""

    @functools.wraps(method)
    async def handler(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            while True:
                try:
                    answer = method(self, *args, **kwargs)
                    if not isinstance(answer, Awaitable):
                        return answer
                    with self.wakeups.while_waiting():
                        return await answer
                except NeedsSteps as needed:
                    await _take(self, needed)
        except Exception as error:
            raise _answer(self, method.__name__, error) from None

    return handler


def waiting(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, R]]:
    """Make a handler of a method that may wait for a thread."""

    @functools.wraps(method)
    async def handler(self: S, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            while True:
                try:
                    with self.wakeups.while_waiting():
                        return await method(self, *args, **kwargs)
                except NeedsSteps as needed:
                    await _take(self, needed)
        except Exception as error:
            raise _answer(self, method.__name__, error) from None

    return handler


async def _take(handlers: Handlers, needed: NeedsSteps) -> None:
    """Take the steps that a change needs before it is asked for again."""
    with handlers.wakeups.while_waiting():
        await handlers.slices.run(needed.steps)


def _answer(handlers: Handlers, request: str, error: Exception) -> pyfuse3.FUSEError:
    handlers.bugs.note(error, request)
    return pyfuse3.FUSEError(errno_of(error))
