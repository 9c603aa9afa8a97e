"""The door to the build cache: what builds have made, and may use again."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import Digest
from overlayfs_py.store import build_records, durable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.store.build_records import StepRecord, UsedStep
    from overlayfs_py.store.cache_mounts import CacheMounts
    from overlayfs_py.store.locks import StoreLock
    from overlayfs_py.store.places import Places


class Builds:
    """The one door to the build cache; every call is atomic to all others."""

    def __init__(self, places: Places, lock: StoreLock) -> None:
        self._places = places
        self._lock = lock

    @property
    def root(self) -> Path:
        """Where its files are; made with the first record."""
        return self._places.builds

    @property
    def mounts(self) -> CacheMounts:
        """The directories that RUN --mount=type=cache shows."""
        from overlayfs_py.store.cache_mounts import CacheMounts

        return CacheMounts(self._places, self._lock)

    def find(self, key: Digest) -> StepRecord | None:
        """Return what a key has made; its layer need not be there any more. Counts as a use."""
        with self._lock.shared():
            record = build_records.find(self._places, key)
            if record is not None:
                with suppress(FileNotFoundError, PermissionError):
                    os.utime(self._places.build_step(key))
            return record

    def put(self, record: StepRecord, table: bytes = b"") -> None:
        """Note what a step has made; its layer must be kept meanwhile."""
        with self._lock.shared():
            build_records.put(self._places, record, table)

    def table(self, record: StepRecord) -> bytes:
        """What was known of the files that a step took; nothing where that is gone."""
        if not record.table:
            return b""
        with self._lock.shared(), suppress(FileNotFoundError):
            return durable.read_file(self._places.build_table(Digest(record.table)))
        return b""

    def latest(self, most: int) -> list[StepRecord]:
        """The records that were used last, the latest first."""
        with self._lock.shared():
            return build_records.latest(self._places, most)

    def steps(self) -> list[UsedStep]:
        """All records, the one used last first."""
        with self._lock.shared():
            return list(build_records.all_used(self._places))

    def prune(self, fits: Callable[[UsedStep], bool]) -> int:
        """Remove the records that `fits` is true of, and the layers that nothing else needs.

        Returns the bytes that this has freed.
        """
        from overlayfs_py.store import collection  # a build that is cached has no need of it

        with self._lock.exclusive():
            unwanted = filter(fits, list(build_records.all_used(self._places)))
            freed = sum(build_records.remove(self._places, used) for used in unwanted)
            freed += build_records.remove_unused_tables(self._places)
            collected = collection.collect(self._places, rubbish=False)
        collected.sweep()
        return freed + collected.freed_bytes
