"""Blobs on their way here: what arrived stays, so that whoever asks again gets the rest only."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.store import durable, locks
from overlayfs_py.store.failures import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.places import Places


class Download:
    """The first bytes of a blob, which may be wrong: only the whole blob has a digest."""

    def __init__(self, path: Path, lock: locks.Lock) -> None:
        self.path = path
        self._lock = lock

    @property
    def size(self) -> int:
        """How many bytes are here."""
        return os.fstat(self._lock.fd).st_size

    def read(self, offset: int, size: int) -> bytes:
        """Return bytes that arrived, fewer at their end."""
        return os.pread(self._lock.fd, size, offset)

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes at the end; after an error none, one or all of them are there."""
        os.lseek(self._lock.fd, 0, os.SEEK_END)
        durable.write_all(self._lock.fd, data, self.path)

    def restart(self) -> None:
        """Forget what arrived: it was wrong."""
        os.ftruncate(self._lock.fd, 0)

    def finish(self) -> None:
        """Remove it: its data is in the store in another form."""
        self.path.unlink(missing_ok=True)


def forget(places: Places, digest: Digest) -> None:
    """Remove what arrived of a blob, unless somebody is at it."""
    path = places.download(digest)
    if path.exists() and (lock := locks.try_acquire(path, locks.Mode.EXCLUSIVE)) is not None:
        with lock:
            path.unlink(missing_ok=True)


@contextmanager
def download(places: Places, digest: Digest, *, wait: bool) -> Iterator[Download]:
    """Give the download of a blob to one process at a time.

    What arrived stays afterwards, unless it was finished.

    Raises:
        Busy: another one is at it, and `wait` is false.
    """
    path = places.download(digest)
    if wait:
        lock: locks.Lock | None = locks.acquire(path, locks.Mode.EXCLUSIVE)
    else:
        lock = locks.try_acquire(path, locks.Mode.EXCLUSIVE)
    if lock is None:
        raise Busy(digest)
    with lock:
        yield Download(path, lock)
