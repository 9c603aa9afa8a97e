"""Cache mounts: directories that RUN steps of several builds find as the last one left them.

Each is one directory, `builds/mounts/NAME`, with its record, a lock and `data/`. A step holds the
lock as long as it runs. A function that removes something needs the store's lock exclusively.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.store import durable, locks, records
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.locks import Mode
from overlayfs_py.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.store.locks import Lock, StoreLock
    from overlayfs_py.store.places import Places

RECORD = "mount.json"
DATA = "data"
LOCK = "lock"


class Sharing(Enum):
    """What becomes of two steps that want one cache mount at once."""

    SHARED = "shared"  # both have it
    PRIVATE = "private"  # the second one gets another
    LOCKED = "locked"  # the second one waits


class CacheMountRecord(Record, frozen=True, kw_only=True):
    """`builds/mounts/NAME/mount.json`: which cache mount it is."""

    id: str
    number: int = 0  # of several private ones


class HeldMount:
    """A cache mount that stays, and that is this process's as far as its sharing goes."""

    def __init__(self, data: Path, lock: Lock) -> None:
        self.data = data
        self._lock = lock

    def close(self) -> None:
        """Let go of it, as far as this process goes."""
        self._lock.close()


class CacheMounts:
    """The one door to a store's cache mounts."""

    def __init__(self, places: Places, lock: StoreLock) -> None:
        self._places = places
        self._lock = lock

    def hold(
        self, ident: str, sharing: Sharing, make: Callable[[Path], None], scratch: Path
    ) -> HeldMount:
        """Give a cache mount, which `make` makes at the path it is given if it is a new one.

        That is below `scratch`, a directory that the caller has in the store as long as this takes.
        """
        number = 0
        while True:
            directory = self._existing(ident, number, make, scratch)
            held = _held(directory / LOCK, sharing)
            if held is not None and (directory / DATA).is_dir():
                os.utime(directory)
                return HeldMount(directory / DATA, held)
            if held is None:
                number += 1  # a private one that another step has
            else:
                held.close()  # pruned meanwhile: once more

    def find(self, ident: str) -> Path | None:
        """The directory of a cache mount, the first where there are private ones; None: none."""
        directory = self._places.cache_mounts / _name(ident, 0)
        return directory if directory.is_dir() else None

    def try_hold(self, directory: Path) -> HeldMount | None:
        """Keep every step away from one; None while a step has it, or if it has gone."""
        try:
            held = locks.try_acquire(directory / LOCK, Mode.EXCLUSIVE)
        except FileNotFoundError:
            return None
        return None if held is None else HeldMount(directory / DATA, held)

    def all(self) -> list[tuple[CacheMountRecord, Path]]:
        """All of them, each with its directory."""
        with self._lock.shared():
            return [(record, path) for path in paths(self._places) if (record := find(path))]

    def take_away(self, directory: Path) -> Path | None:
        """Put one out of sight; returns what is left to be removed, None while a step has it."""
        with self._lock.exclusive():
            return take_away(self._places, directory)

    def _existing(
        self, ident: str, number: int, make: Callable[[Path], None], scratch: Path
    ) -> Path:
        directory = self._places.cache_mounts / _name(ident, number)
        if not directory.is_dir():
            staged = scratch / f"mount-{secrets.token_hex(8)}"
            staged.mkdir(mode=0o700)
            try:
                make(staged / DATA)  # which may take long: not under the store's lock
                record = CacheMountRecord(id=ident, number=number)
                durable.write_file(staged / RECORD, records.encode(record), staged)
                with self._lock.shared():
                    _place(self._places, staged, directory)
            finally:
                if staged.exists():
                    durable.remove(staged)
        return directory


def find(directory: Path) -> CacheMountRecord | None:
    """Return what a directory is, None if nothing tells."""
    try:
        return records.read(directory / RECORD, CacheMountRecord)
    except CorruptStore:
        return None


def paths(places: Places) -> list[Path]:
    """The directories of all cache mounts."""
    try:
        return sorted(places.cache_mounts.iterdir())
    except FileNotFoundError:  # a store in which none was ever made
        return []


def take_away(places: Places, directory: Path) -> Path | None:
    """Put a cache mount out of sight, by one rename; None while a step has it."""
    held = locks.try_acquire(directory / LOCK, Mode.EXCLUSIVE)
    if held is None:
        return None
    with held:
        gone = places.staging / f"gone-{secrets.token_hex(8)}"
        directory.rename(gone)
    durable.sync_directory(places.cache_mounts)
    return gone


def _place(places: Places, staged: Path, directory: Path) -> None:
    for each in (places.builds, places.cache_mounts):
        each.mkdir(mode=0o700, exist_ok=True)
    try:
        staged.rename(directory)
    except OSError:
        if not directory.is_dir():  # another process was quicker
            raise


def _held(path: Path, sharing: Sharing) -> Lock | None:
    match sharing:
        case Sharing.SHARED:
            return locks.acquire(path, Mode.SHARED)
        case Sharing.LOCKED:
            return locks.acquire(path, Mode.EXCLUSIVE)
        case Sharing.PRIVATE:
            return locks.try_acquire(path, Mode.EXCLUSIVE)


def _name(ident: str, number: int) -> str:
    # An ID may be longer than a file name, and has slashes: what it is stands inside.
    return hashlib.sha256(f"{number} {ident}".encode()).hexdigest()
