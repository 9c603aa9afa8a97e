"""What a container has used of its image: recorded by its mount's daemon, kept in its directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.mounts import inquiring

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.drivers.mounting import MountPlan

FILE = "uses"


class RecordedUses:
    """The monitor's side: where the daemon is asked, and where it writes when it ends."""

    def __init__(self, directory: Path, copy: str) -> None:
        """`copy` is a file of the user's that gets the same at the end; empty: none."""
        self._directory = directory
        self._copy = copy
        self._listener: socket.socket | None = None
        self._fd: int | None = None
        self._copy_fd: int | None = None

    def open(self) -> None:
        """Make ready what the daemon is given.

        Raises:
            OSError: the user's file cannot be written.
        """
        flags = os.O_CREAT | os.O_CLOEXEC
        if self._copy:
            self._copy_fd = os.open(self._copy, flags | os.O_WRONLY | os.O_TRUNC, 0o666)
        self._fd = os.open(self._directory / FILE, flags | os.O_RDWR | os.O_APPEND, 0o600)
        self._listener = inquiring.listen(self._directory)

    def give(self, plan: MountPlan) -> MountPlan:
        """Be the daemon's from now on; returns how it is to mount."""
        assert self._listener is not None
        return plan._replace(inquiry_fd=self._listener.detach(), uses_fd=self._fd)

    def take(self) -> None:
        """Be the monitor's from now on: the daemon has been forked."""
        if self._listener is not None:
            self._listener.close()

    def close(self) -> None:
        """Finish, once the daemon has ended."""
        self.take()
        if self._fd is None:
            return
        (self._directory / inquiring.FILE).unlink(missing_ok=True)
        if self._copy_fd is not None:
            from shutil import copyfileobj

            with open(self._fd, "rb", closefd=False) as source, open(self._copy_fd, "wb") as target:
                source.seek(0)
                copyfileobj(source, target)
        os.close(self._fd)
        self._fd = None


def lines(directory: Path, name: str, *, runs: bool) -> Iterator[bytes]:
    """Yield what has been recorded of a container up to now.

    Raises:
        Failure: its daemon does not answer.
    """
    path = directory / FILE
    if path.exists():
        with path.open("rb") as file:
            yield from file
    if runs:
        sock = inquiring.connect_to_container(directory, name)
        yield from inquiring.ask(sock, {"ask": "uses"})
