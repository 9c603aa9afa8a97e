"""The first moments of a mount, before trio is loaded: that takes as long as all the rest.

Who mounts looks at once at what is there, and what such requests ask for needs no task. So they
are answered in a plain loop until trio is there: a thread loads it once nobody asks for a moment,
or somebody has to wait for it. An unmount that comes in between ends the loop as well.
"""

from __future__ import annotations

import importlib
import os
import select
import threading
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.drivers.direct_device import QUIET_MS, TELL_AFTER_MS
from overlayfs_py.wire.errors import WireError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from overlayfs_py.drivers.direct_driver import Server
    from overlayfs_py.drivers.mounting import Mounted

# Loading trio takes several times as long (measured), and slows down who asks meanwhile: a program
# that has just been started. So it comes when there was nothing to do for a while.
_MOMENT_MS = 125
_QUIET_MOMENTS = 8
_NEEDED_LATER = ("overlayfs_py.drivers.supervision", "overlayfs_py.drivers.inquiries", "json")


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


class Door:
    """A socket at which somebody may ask for something while nobody can heed it yet."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.is_heard = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLIN)

    def is_called(self) -> bool:
        """Whether somebody asks, and nobody has taken note of it."""
        return not self.is_heard and bool(self._poll.poll(0))


class _Loading:
    """A thread that loads what needs trio. `fd` is readable from when it is done.

    Never the thread that answers: the mount may cover the very modules.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self.fd, self._done = os.pipe()
        # Not waited for where the mount is gone first: without it the process ends at once.
        self._thread = threading.Thread(target=self._load, daemon=True)

    def begin(self) -> None:
        """Start, if it has not been."""
        if self._thread.ident is None:
            self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether all is loaded, or cannot be."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def leave(self) -> None:
        """Close `fd`: nobody waits any more."""
        os.close(self.fd)
        if self._thread.ident is None:
            os.close(self._done)

    def _load(self) -> None:
        try:
            for module in self._modules:
                importlib.import_module(module)
        finally:
            os.close(self._done)


def answer_first(server: Server, fd: int, noted: Collection[int]) -> PostponedTasks:
    """Answer until trio is loaded, or the mount is gone.

    It is loaded once nobody asks for a moment, a task has to wait, or there is one of the signals
    in `noted`, or somebody is at the door. Returns the tasks that have to be waited for.
    """
    postponed = PostponedTasks()
    loading = _Loading((*_NEEDED_LATER, *server.needed_later))
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.register(loading.fd, select.POLLIN)
    for door in server.doors:
        poll.register(door.fd, select.POLLIN)
    quiet_moments = 0
    try:
        while not server.has_ended and not loading.is_over:
            if postponed or noted:
                loading.begin()
            for door in server.doors:
                if door.is_called():
                    loading.begin()
                    poll.unregister(door.fd)
                    door.is_heard = True
            if server.drain(postponed) or poll.poll(TELL_AFTER_MS):
                quiet_moments = 0
                continue
            server.outdated.tell()
            if poll.poll(QUIET_MS - TELL_AFTER_MS):
                continue
            server.wakefulness.rest()
            if not poll.poll(_MOMENT_MS):
                quiet_moments += 1
            if quiet_moments == _QUIET_MOMENTS:
                loading.begin()
    except WireError as error:
        server.broken = error
    finally:
        loading.leave()
    return postponed
