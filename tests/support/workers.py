"""pytest-xdist's workers: each with mounts of its own, and tests that bear no company."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, TYPE_CHECKING

from overlayfs_py.syscalls.mounts import MNT_DETACH, MS_BIND, MS_PRIVATE, MS_REC, mount, umount
from overlayfs_py.syscalls.namespaces import CLONE_NEWNS, unshare

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

ALONE = "alone"


def is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def hide_mounts() -> None:
    """Give the calling thread, and what it starts from now on, a mount namespace of its own.

    A namespace that a test makes is a copy: of another worker's mounts as well, if they were to be
    seen here, and these and their daemons would then outlive their unmounting.
    """
    if os.geteuid() == 0:
        unshare(CLONE_NEWNS)
        mount(None, b"/", None, MS_REC | MS_PRIVATE)
        _take_own_device()


def _take_own_device() -> None:
    """Cover /dev/fuse with a node like it: some tests change its mode, and put it back."""
    status = os.stat("/dev/fuse")
    with TemporaryDirectory() as directory:
        mount(b"tmpfs", os.fsencode(directory), b"tmpfs", 0, None)
        node = Path(directory) / "fuse"
        os.mknod(node, stat.S_IFCHR, status.st_rdev)
        node.chmod(stat.S_IMODE(status.st_mode))
        mount(os.fsencode(node), b"/dev/fuse", None, MS_BIND)
        umount(os.fsencode(directory), MNT_DETACH)  # the node stays, where it is bound


class Room:
    """Where the workers' tests run beside each other, or one of them alone.

    Held by flock(2) on files in a directory of all workers: it ends with its process. Whoever
    waits for the room holds its door meanwhile; otherwise those who share it would keep out for
    long the one who wants it alone.
    """

    def __init__(self, directory: Path) -> None:
        self._door: IO[bytes] = (directory / "door").open("ab")
        self._room: IO[bytes] = (directory / "room").open("ab")
        self._is_kept = False

    @contextmanager
    def held(self, item: pytest.Item, following: pytest.Item | None) -> Iterator[None]:
        """Run a test in it. It stays taken from one test that is alone to another right after."""
        alone = is_alone(item)
        if not self._is_kept:
            self._enter(fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        self._is_kept = alone and following is not None and is_alone(following)
        try:
            yield
        finally:
            if not self._is_kept:
                fcntl.flock(self._room, fcntl.LOCK_UN)

    def _enter(self, how: int) -> None:
        fcntl.flock(self._door, fcntl.LOCK_EX)
        fcntl.flock(self._room, how)
        fcntl.flock(self._door, fcntl.LOCK_UN)


def is_alone(item: pytest.Item) -> bool:
    return item.get_closest_marker(ALONE) is not None


def room_of(config: pytest.Config) -> Room | None:
    """Return the room that a worker shares with the others; without workers there is none."""
    if not is_worker(config):
        return None
    # pytest-xdist gives each worker a directory below the one of the run.
    return Room(Path(config.getoption("basetemp")).parent)
