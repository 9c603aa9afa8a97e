"""flock(2): who is at work, found out without any daemon, and over as soon as a process ends.

Order, outermost first: the lock to ingest a layer, a download's lock, the store's lock. Whoever
holds the store's lock waits for no other: the locks of leases and of layers in use are taken where
they are free, or are only asked about.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_STORE = "store"
# flock(2) lets a new shared holder pass an exclusive one that waits, for ever if they overlap.
# Who waits for the store holds the gate meanwhile.
_GATE = "gate"
LOCK_NAMES = (_STORE, _GATE)


class Mode(IntEnum):
    """How a lock is held."""

    SHARED = fcntl.LOCK_SH
    EXCLUSIVE = fcntl.LOCK_EX


class Lock:
    """A lock that is held until `close`, or until the last process that inherited it ends."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def close(self) -> None:
        """Let go; a second time does nothing."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def acquire(path: Path, mode: Mode) -> Lock:
    """Hold the lock file at `path`, made if needed; waits for whoever holds it."""
    held = None
    while held is None:
        held = _take(path, mode)
    return held


def try_acquire(path: Path, mode: Mode) -> Lock | None:
    """Hold the lock file at `path`, made if needed, or None where another one holds it."""
    while True:
        try:
            held = _take(path, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if held is not None:
            return held


def wait_for(path: Path) -> None:
    """Wait until nobody holds the lock file exclusively."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
    finally:
        os.close(fd)


def hold_directory(path: Path) -> Lock:
    """Hold a directory, shared: where its filesystem is read-only no lock file can be made."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return Lock(fd)


def is_held(path: Path, *, shared: bool = False) -> bool:
    """Whether anybody holds the lock file exclusively, or with `shared` in any way.

    One that is not there is held by nobody. Asking with `shared` holds it for an instant: only
    under the store's exclusive lock.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(fd, (fcntl.LOCK_EX if shared else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _take(path: Path, operation: int) -> Lock | None:
    """Lock what the path names; None if it named another file by the time we had the lock."""
    fd = _open(path)
    try:
        fcntl.flock(fd, operation)
        if _names(path, fd):
            lock = Lock(fd)
            fd = -1
            return lock
        return None
    finally:
        if fd >= 0:
            os.close(fd)


def _names(path: Path, fd: int) -> bool:
    """Whether the path still names the open file: lock files nobody holds are removed."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _open(path: Path) -> int:
    flags = os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        # NFS gives an exclusive lock only to who may write.
        return os.open(path, os.O_RDWR | flags, 0o600)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS):
            raise
        return os.open(path, os.O_RDONLY | flags, 0o600)


class StoreLock:
    """One lock for the whole store, held for moments only.

    Shared: to look at what is there and keep it from going, or to add. Exclusive: to delete, and to
    change what tags and images say. Work that takes longer holds a lease.
    """

    def __init__(self, directory: Path) -> None:
        self._store = directory / _STORE
        self._gate = directory / _GATE

    @contextmanager
    def shared(self) -> Iterator[None]:
        with self._pass(Mode.SHARED):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._pass(Mode.EXCLUSIVE):
            yield

    def _pass(self, mode: Mode) -> Lock:
        with acquire(self._gate, Mode.EXCLUSIVE):
            return acquire(self._store, mode)
