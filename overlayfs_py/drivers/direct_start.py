"""The first moments of a mount, before trio is loaded: that takes as long as all the rest.

Who mounts looks at once at what is there, and what such requests ask for needs no task. So they
are answered in a plain loop, until one comes that takes longer, or trio is there: a thread loads it
once nobody asks for a moment. An unmount that comes in between ends the loop as well.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.drivers.direct_device import QUIET_MS
from overlayfs_py.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from overlayfs_py.drivers.direct_driver import Server
    from overlayfs_py.drivers.mounting import Mounted

# Loading trio takes twice as long (measured), and slows down who asks meanwhile.
_MOMENT_MS = 30
# Guess: how long a request may have to wait for the loading thread to let go of the interpreter;
# 5 ms by default, several times a request.
_SWITCH_S = 0.0005
_HEARD_LATER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


class Tasks(Protocol):
    """A nursery, or what stands for one."""

    def start_soon(self, call: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Start a task."""


class PostponedTasks:
    """Tasks to be started in the nursery that will be there."""

    def __init__(self) -> None:
        self._calls: list[tuple[Callable[..., Awaitable[None]], tuple[object, ...]]] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    def start_soon(self, call: Callable[..., Awaitable[None]], *arguments: object) -> None:
        """Take note of a task."""
        self._calls.append((call, arguments))

    def start_in(self, tasks: Tasks) -> None:
        """Start them all."""
        for call, arguments in self._calls:
            tasks.start_soon(call, *arguments)
        self._calls.clear()


class Announcement:
    """A thread that waits until a mount answers, then says so: it may use the mount."""

    def __init__(self, mounted: Mounted, on_ready: Callable[[], None]) -> None:
        self._mounted = mounted
        self._on_ready = on_ready
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._announce)
        self._thread.start()

    def _announce(self) -> None:
        try:
            os.statvfs(self._mounted.target)
            self._mounted.raise_read_ahead()
            self._on_ready()
        except BaseException as error:
            self._error = error

    def finish(self) -> None:
        """Wait for the thread, and raise what it has raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error


def answer_first(server: Server, fd: int, noted: Collection[int]) -> PostponedTasks:
    """Answer until trio is loaded or needed: for a task, or for one of the signals in `noted`.

    Returns the tasks that have to be waited for.
    """
    postponed = PostponedTasks()
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    # Not waited for where the mount is gone first: without it the process ends at once.
    loading = threading.Thread(target=_load_trio, daemon=True)
    try:
        while not postponed and not noted and not server.has_ended:
            if server.drain(postponed) or poll.poll(QUIET_MS):
                continue
            server.wakefulness.rest()
            if poll.poll(_MOMENT_MS):
                continue
            if loading.ident is None:
                loading.start()
            elif not loading.is_alive():
                break
    except WireError as error:
        server.broken = error
    return postponed


def _load_trio() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        importlib.import_module("overlayfs_py.drivers.supervision")  # which needs it
    finally:
        sys.setswitchinterval(before)


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Meanwhile only take note of signals that end or ask a daemon: nobody can heed them yet."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: noted.append(number))
        for number in _HEARD_LATER
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
