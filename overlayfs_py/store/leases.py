"""A lease keeps what a process is about to refer to, and holds what it has not finished.

It is a directory below `staging/` with a locked file in it, which lists what is kept, and with
everything that its process writes. The lock ends with the process; what is left then is rubbish,
whoever finds it.
"""

from __future__ import annotations

import os
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import Digest, parse_digest
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.store import durable, locks
from overlayfs_py.store.places import LEASE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Kind(Enum):
    """What a lease can keep."""

    BLOB = "blob"
    LAYER = "layer"


_KINDS = {kind.value: kind for kind in Kind}


class Kept(NamedTuple):
    """One thing that a lease keeps."""

    kind: Kind
    digest: Digest


class Lease:
    """What one piece of work keeps from being deleted, until it is closed."""

    def __init__(self, directory: Path, lock: locks.Lock) -> None:
        self.directory = directory
        self._lock = lock
        self._kept: set[Kept] = set()

    def keep(self, kind: Kind, digest: Digest) -> None:
        """Keep a blob or a layer from now on, there or not. The store's lock must be held."""
        kept = Kept(kind, digest)
        if kept not in self._kept:
            line = f"{kind.value} {digest}\n".encode()
            self._append(line)
            self._kept.add(kept)

    def _append(self, line: bytes) -> None:
        end = os.lseek(self._lock.fd, 0, os.SEEK_CUR)
        try:
            durable.write_all(self._lock.fd, line, self.directory / LEASE)
        except OSError:
            # Half a line would spoil the next one.
            os.ftruncate(self._lock.fd, end)
            os.lseek(self._lock.fd, end, os.SEEK_SET)
            raise

    def new_path(self) -> Path:
        """A free name in the lease's directory."""
        return self.directory / durable.random_hex(8)

    def close(self) -> None:
        """Remove what is unfinished, and keep nothing any more."""
        discard(self.directory)
        self._lock.close()


def start(staging: Path) -> Lease:
    """Make a new lease. The store's lock must be held."""
    directory = staging / durable.random_hex(8)
    directory.mkdir(mode=0o700)
    try:
        lock = locks.acquire(directory / LEASE, locks.Mode.EXCLUSIVE)
    except BaseException:
        directory.rmdir()
        raise
    return Lease(directory, lock)


def leftovers(staging: Path) -> list[Path]:
    """What killed processes left. The store's lock must be held exclusively."""
    return [path for path in sorted(staging.iterdir()) if not locks.is_held(path / LEASE)]


def all_kept(staging: Path) -> set[Kept]:
    """What the leases of all living processes keep. The store's lock must be held exclusively."""
    return {
        kept
        for directory in staging.iterdir()
        if locks.is_held(directory / LEASE)
        for kept in _read(directory / LEASE)
    }


def _read(path: Path) -> Iterator[Kept]:
    try:
        lines = durable.read_file(path).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return  # its owner closes it just now
    for line in lines:
        kind, _, digest = line.partition(" ")
        if kind in _KINDS:
            yield Kept(_KINDS[kind], parse_digest(digest))


def discard(path: Path) -> None:
    """Remove a leftover; another process may be at it, too."""
    try:
        durable.remove(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(path)
