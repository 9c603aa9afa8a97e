"""The life of snapshots, as containerd's interface has it: what takes long runs in threads.

The books change in trio's thread alone, in one piece; what a thread has found out before is asked
again there.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

import trio

from overlayfs_py.backends import snapshot_collection, snapshot_filters
from overlayfs_py.backends.snapshot_failures import Class, Refused, quoted
from overlayfs_py.backends.snapshot_filters import Fields
from overlayfs_py.backends.snapshot_mounts import max_size, require_sense
from overlayfs_py.backends.snapshot_places import PACK, TREE
from overlayfs_py.backends.snapshot_records import Kind, Usage
from overlayfs_py.backends.snapshot_usage import disk_usage
from overlayfs_py.store.records import Form
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from overlayfs_py.backends.snapshot_books import SnapshotBooks
    from overlayfs_py.backends.snapshot_mounts import Mount, MountWriter
    from overlayfs_py.backends.snapshot_records import SnapshotRecord

# umount(2) returns before the daemon of a mount has ended, and it may still have to write.
_ENDING_S = 5.0
_ASKED_EVERY_S = 0.01

_log = logging.getLogger(__name__)


class Snapshotter:
    """What containerd asks of snapshots. All methods belong to trio's thread."""

    def __init__(self, books: SnapshotBooks, writer: MountWriter, form: Form) -> None:
        """`form` is how layers are kept once they are committed."""
        self._books = books
        self._writer = writer
        self._form = form
        self._collecting = trio.Lock()
        self._to_collect = trio.Event()
        self._committing: set[int] = set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Delete what is left by processes that were killed, then what is removed; never ends.

        It has started once requests may come.
        """
        places = self._books.places
        await trio.to_thread.run_sync(snapshot_collection.tidy, places, self._books.all())
        task_status.started()
        while True:
            await self._collect()
            await self._to_collect.wait()
            self._to_collect = trio.Event()

    def prepare(self, key: str, parent: str, labels: Mapping[str, str]) -> list[Mount]:
        """Make an active snapshot and return its mounts."""
        return self._create(Kind.ACTIVE, key, parent, labels)

    def view(self, key: str, parent: str, labels: Mapping[str, str]) -> list[Mount]:
        """Make a view of a committed snapshot and return its mounts."""
        return self._create(Kind.VIEW, key, parent, labels)

    def mounts(self, key: str) -> list[Mount]:
        """Return the mounts of an active snapshot or a view."""
        record = self._books.get(key)
        if record.kind is Kind.COMMITTED:
            what = f"requested snapshot {quoted(key)} not active or view"
            raise Refused(Class.FAILED_PRECONDITION, what)
        return self._writer.mounts(record, self._books.parents(record))

    async def commit(self, name: str, key: str, parent: str, labels: Mapping[str, str]) -> None:
        """Make the layer `name` of the active snapshot `key`: once no mount writes to it.

        All of it is on the disk when this returns. Asked again, the answer is the same: who was
        told nothing, since we were killed, may ask again.
        """
        if key and self._books.is_committed(name, key):
            return
        record = self._books.get(key)
        self._books.require_committable(record, name)
        if record.id in self._committing:
            what = f"snapshot {quoted(key)} is being committed"
            raise Refused(Class.FAILED_PRECONDITION, what)
        self._committing.add(record.id)
        try:
            form = await self._commit(record, name, parent, labels)
        finally:
            self._committing.remove(record.id)
        directory = self._books.places.snapshot(record.id)
        await trio.to_thread.run_sync(snapshot_collection.drop_leftovers, directory, form)

    async def _commit(
        self, record: SnapshotRecord, name: str, parent: str, labels: Mapping[str, str]
    ) -> Form:
        await self._until_unmounted(record)
        directory = self._books.places.snapshot(record.id)
        try:
            form, usage = await trio.to_thread.run_sync(self._settle, directory)
        except FileNotFoundError:
            self._books.require_committable(record, name)  # it may have been removed
            raise
        limit = max_size(record.labels)
        if limit is not None and usage.size > limit:
            what = f"snapshot {quoted(record.name)} takes {usage.size} bytes, and may take {limit}"
            raise Refused(Class.FAILED_PRECONDITION, what)
        self._books.commit(record, name, parent, labels, usage, form)
        return form

    async def remove(self, key: str) -> None:
        """Let a snapshot be no more; a mount that shows it goes on, and its files until then."""
        record = self._books.get(key)
        self._books.remove(key)
        self._to_collect.set()
        await trio.to_thread.run_sync(
            snapshot_collection.clear_dead_mounts, self._books.places, [record.id]
        )

    def stat(self, key: str) -> tuple[SnapshotRecord, str]:
        """Return what is known of a snapshot, and its parent's name."""
        record = self._books.get(key)
        return record, self._books.parent_name(record)

    def update(
        self, key: str, labels: Mapping[str, str], field_paths: Sequence[str]
    ) -> tuple[SnapshotRecord, str]:
        """Change labels; returns what `stat` does."""
        record = self._books.update(key, labels, field_paths)
        return record, self._books.parent_name(record)

    def listed(self, filters: Sequence[str]) -> list[tuple[SnapshotRecord, str]]:
        """Return all snapshots that match any of the filters, as `stat` does."""
        matches = snapshot_filters.parse(filters)
        found = ((record, self._books.parent_name(record)) for record in self._books.all())
        return [
            (record, parent)
            for record, parent in found
            if matches(Fields(record.name, parent, record.kind.value, record.labels))
        ]

    async def usage(self, key: str) -> Usage:
        """Return what a snapshot takes, its parents left out."""
        record = self._books.get(key)
        if record.kind is Kind.VIEW:
            return Usage()
        if record.kind is Kind.COMMITTED:
            return Usage(record.size, record.inodes)
        upper = self._books.places.snapshot(record.id) / TREE
        try:
            return await trio.to_thread.run_sync(disk_usage, os.fsencode(upper))
        except FileNotFoundError:  # removed meanwhile, or committed
            return await self.usage(key)

    async def cleanup(self) -> None:
        """Delete all that no snapshot and no mount needs; returns when it is gone."""
        await self._collect()

    async def _collect(self) -> None:
        async with self._collecting:
            if self._books.is_whole:
                await trio.to_thread.run_sync(snapshot_collection.collect, self._books.places)

    def _create(self, kind: Kind, key: str, parent: str, labels: Mapping[str, str]) -> list[Mount]:
        require_sense(dict(labels))
        record = self._books.create(kind, key, parent, labels)
        return self._writer.mounts(record, self._books.parents(record))

    async def _until_unmounted(self, record: SnapshotRecord) -> None:
        directory = self._books.places.snapshot(record.id)
        deadline = time.monotonic() + _ENDING_S
        while snapshot_collection.is_mounted(directory):
            if time.monotonic() >= deadline:
                what = f"snapshot {quoted(record.name)} is mounted"
                raise Refused(Class.FAILED_PRECONDITION, what)
            await trio.sleep(_ASKED_EVERY_S)

    def _settle(self, directory: Path) -> tuple[Form, Usage]:
        """Bring an upper to the disk, in the form that it is to have; runs in a thread."""
        if self._form is Form.PACK:
            pack = directory / PACK
            _pack(directory / TREE, pack)
            return Form.PACK, Usage(pack.stat().st_blocks * 512, 1)
        upper = os.fsencode(directory / TREE)
        files.sync_filesystem(upper)
        return Form.TREE, disk_usage(upper)


def _pack(tree: Path, pack: Path) -> None:
    from overlayfs_py.packs.from_directory import pack_directory
    from overlayfs_py.packs.values import PackOptions
    from overlayfs_py.packs.writer import PackWriter

    with pack.open("wb") as out:
        writer = PackWriter(out, PackOptions())
        pack_directory(os.fsencode(tree), writer)
        writer.finish()
        out.flush()
        os.fsync(out.fileno())
