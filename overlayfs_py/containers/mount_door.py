"""The monitor's end of the door of its mount's daemon: an empty upper under a running container.

On disk the directories are exchanged after the daemon has gone over to the new ones: a monitor
that is killed leaves the old upper or an empty one. A process beside removes what was there before.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import time
from typing import TYPE_CHECKING

from overlayfs_py.containers import keep_directory
from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.store import durable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.mounts.children import Report

    # Called with what went wrong, None for nothing.
    Done = Callable[[str | None], None]

_NEXT = "next"
_GONE = "gone-"
_LARGEST = 1 << 16
_PATIENCE_S = 20.0  # more than the daemon has
_EXCHANGED = ("upper", "work")
_OCTAL = re.compile(rb"\\([0-7]{3})")


class MountDoor:
    """Asks for one change at a time."""

    def __init__(self, loop: EventLoop, directory: Path, like: bytes) -> None:
        """`like` is the layer whose root a new upper's is like."""
        self._loop = loop
        self._directory = directory
        self._like = like
        self._done: Done | None = None
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

    def reset(self, kept: list[bytes], done: Done) -> None:
        """Have an empty upper put under the mount; `done` is called later.

        Raises:
            Failure: another change is under way.
            OSError: there can be no new upper.
        """
        if self._done is not None:
            raise Failure("another change of the container's files is under way")
        self._sweep()
        home = os.fsencode(self._directory / _NEXT)
        place = keep_directory.lay_out(home, like=self._like)
        request = {
            "do": "reset",
            "upper": os.fsdecode(place.upper),
            "work": os.fsdecode(place.work),
            "kept": [os.fsdecode(path) for path in kept],
        }
        self._ours.send(json.dumps(request).encode())
        self._done = done

    def wait(self) -> None:
        """Wait for the end of the change that is under way: for the daemon's answer, or its end."""
        deadline = time.monotonic() + _PATIENCE_S
        late = self._loop.call_later(_PATIENCE_S, lambda: None)
        self._loop.run_until(lambda: self._done is None or time.monotonic() >= deadline)
        late.cancel()

    def _sweep(self) -> None:
        """Remove what a monitor that was killed has left."""
        left = self._directory / _NEXT
        if left.exists():
            durable.remove(left)

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
        error = json.loads(packet).get("error") if packet else "the filesystem's daemon ended"
        if error is None:
            self._exchange()
        done(error)

    def _exchange(self) -> None:
        new = self._directory / _NEXT
        for name in _EXCHANGED:
            # Killed in between, the upper is missing: the next start makes an empty one.
            (self._directory / name).rename(new / f"{_GONE}{name}")
            (new / name).rename(self._directory / name)
        gone = self._directory / f"{_GONE}{secrets.token_hex(4)}"
        new.rename(gone)
        self._remove(gone)

    def _remove(self, gone: Path) -> None:
        def work(_: Report) -> None:
            durable.remove(gone)

        child = children.start(work)
        fd = os.pidfd_open(child.pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            child.wait()

        self._loop.watch(fd, READABLE, ended)


def remove_leftovers(directory: Path) -> None:
    """Remove what earlier changes of a container's files have left; it must not be mounted."""
    for path in directory.iterdir():
        if path.name == _NEXT or path.name.startswith(_GONE):
            durable.remove(path)


def mount_points(pid: int) -> list[bytes]:
    """Where something is mounted in the root directory of a process."""
    with open(f"/proc/{pid}/mountinfo", "rb") as lines:
        fields = [line.split(b" ")[4] for line in lines]
    return [_OCTAL.sub(lambda found: bytes([int(found[1], 8)]), path) for path in fields]
