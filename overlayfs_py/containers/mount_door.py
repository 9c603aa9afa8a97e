"""The monitor's end of the door of its mount's daemon: another upper under a running container.

The container's record goes over to the new stack first, and back where the daemon cannot: a monitor
that is killed leaves the one or the other, and nothing that was written to either is lost. What was
there before is removed by a process beside.
"""

from __future__ import annotations

import json
import os
import socket
import time
from typing import TYPE_CHECKING

from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.late_import import late_pattern
from overlayfs_py.mounts import children
from overlayfs_py.store import durable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.mounts.children import Report

    # Called with what went wrong, None for nothing.
    Done = Callable[[str | None], None]

_LARGEST = 1 << 16
_PATIENCE_S = 20.0  # more than the daemon has
_OCTAL = late_pattern(rb"\\([0-7]{3})")


class MountDoor:
    """Asks for one change at a time."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._done: Done | None = None
        self._undo: Callable[[], None] | None = None
        self._ours, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def take(self) -> None:
        """Be the monitor's from now on: the daemon has been forked."""
        self.theirs.close()
        self._loop.watch(self._ours.fileno(), READABLE, self._answered)

    def give(self) -> int:
        """Be the daemon's from now on; returns its descriptor."""
        self._ours.close()
        return self.theirs.fileno()

    def close(self) -> None:
        """Ask for nothing any more."""
        self._loop.forget(self._ours.fileno())
        self._ours.close()
        self.theirs.close()

    @property
    def is_busy(self) -> bool:
        """Whether a change is under way."""
        return self._done is not None

    def ask(self, request: dict[str, object], done: Done, undo: Callable[[], None]) -> None:
        """Ask for a change; `done` is called later, and `undo` before it where it is refused."""
        self._ours.send(json.dumps(request).encode())
        self._done, self._undo = done, undo

    def wait(self) -> None:
        """Wait for the end of the change that is under way: for the daemon's answer, or its end."""
        deadline = time.monotonic() + _PATIENCE_S
        late = self._loop.call_later(_PATIENCE_S, lambda: None)
        self._loop.run_until(lambda: self._done is None or time.monotonic() >= deadline)
        late.cancel()

    def _answered(self) -> None:
        try:
            packet = self._ours.recv(_LARGEST)
        except OSError:
            packet = b""
        done, self._done = self._done, None
        if not packet:
            self._loop.forget(self._ours.fileno())
        if done is None:
            return
        # A daemon that ended may have done it, and then others have written since.
        error = json.loads(packet).get("error") if packet else "the filesystem's daemon ended"
        if packet and error is not None and self._undo is not None:
            self._undo()
        done(error)

    def remove(self, gone: Path) -> None:
        """Remove a directory, in a process beside."""

        def work(_: Report) -> None:
            durable.remove(gone)

        child = children.start(work)
        fd = os.pidfd_open(child.pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            child.wait()

        self._loop.watch(fd, READABLE, ended)


def mount_points(pid: int) -> list[bytes]:
    """Where something is mounted in the root directory of a process."""
    with open(f"/proc/{pid}/mountinfo", "rb") as lines:
        fields = [line.split(b" ")[4] for line in lines]
    return [_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), path) for path in fields]
