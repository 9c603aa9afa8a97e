"""All snapshots, in memory as on the disk: each change is one rename of a directory or a record.

A snapshot's directory and its record appear together and go together, so there are no two truths
to be compared after a kill. One process has the books, and one task changes them.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.backends.snapshot_failures import Class, Refused, quoted
from overlayfs_py.backends.snapshot_places import LEASE, RECORD, TREE, WORK, idents
from overlayfs_py.backends.snapshot_records import (
    NO_PARENT,
    Kind,
    RootVersion,
    SnapshotRecord,
)
from overlayfs_py.errors import Failure
from overlayfs_py.mounts.uppers import make_upper
from overlayfs_py.store import durable, locks, records
from overlayfs_py.store.failures import CorruptStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from overlayfs_py.backends.snapshot_places import SnapshotPlaces
    from overlayfs_py.backends.snapshot_records import Usage
    from overlayfs_py.store.records import Form

_LONGEST_NAME = 32 << 10  # bytes; of a key of containerd's own database
_LONGEST_LABEL = 4096  # bytes, name and value together: containerd's own bound
_ROOT_MODE = 0o755  # of what has no parent

_OWN = frozenset({"lock", "snapshots", "removed", "staging", "empty"})

_log = logging.getLogger(__name__)


class SnapshotBooks:
    """The snapshots below one root. What is damaged there is left alone, and told of."""

    def __init__(self, places: SnapshotPlaces) -> None:
        """Read what is there; makes the root if need be.

        Raises:
            Failure: another process serves it, or it is no such root.
        """
        self.places = places
        self._lock = _lock(places)
        self._by_id: dict[int, SnapshotRecord] = {}
        self._by_name: dict[str, SnapshotRecord] = {}
        self._children: dict[int, int] = {}
        self.is_whole = True  # False: there are directories that nobody can say the meaning of
        try:
            _prepare(places)
            self._read_all()
        except BaseException:
            self.close()
            raise
        known = [*idents(places.snapshots), *idents(places.removed)]
        self._last_id = max(known, default=0)

    def close(self) -> None:
        """Let another process have the root."""
        self._lock.close()

    def get(self, name: str) -> SnapshotRecord:
        """Return the snapshot of a name.

        Raises:
            Refused: there is none.
        """
        record = self._by_name.get(name)
        if record is None:
            raise Refused(Class.NOT_FOUND, f"snapshot {quoted(name)} does not exist")
        return record

    def all(self) -> list[SnapshotRecord]:
        """Return all snapshots, the oldest first."""
        return sorted(self._by_id.values(), key=lambda record: record.id)

    def parent_name(self, record: SnapshotRecord) -> str:
        """Return the name of a snapshot's parent, empty where it has none."""
        return self._by_id[record.parent].name if record.parent in self._by_id else ""

    def parents(self, record: SnapshotRecord) -> list[SnapshotRecord]:
        """Return what a snapshot lies on, topmost first.

        Raises:
            Refused: one of them is damaged.
        """
        found = []
        while record.parent != NO_PARENT:
            if record.parent not in self._by_id:
                raise Refused(Class.NOT_FOUND, f"a parent of {quoted(record.name)} does not exist")
            record = self._by_id[record.parent]
            found.append(record)
        return found

    def create(
        self, kind: Kind, name: str, parent_name: str, labels: Mapping[str, str]
    ) -> SnapshotRecord:
        """Make an active snapshot or a view.

        Raises:
            Refused: the name is taken, or the parent cannot be one.
        """
        _require_name(name)
        parent = self._parent_of_new(parent_name)
        if name in self._by_name:
            raise Refused(Class.ALREADY_EXISTS, f"snapshot {quoted(name)}")
        now = time.time_ns()
        record = SnapshotRecord(
            id=self._last_id + 1,
            name=name,
            kind=kind,
            parent=NO_PARENT if parent is None else parent.id,
            labels=_checked(labels),
            created_ns=now,
            updated_ns=now,
        )
        with self._staged() as directory:
            self._fill(directory, record, parent)
            os.rename(directory, self.places.snapshot(record.id))
        durable.sync_directory(self.places.snapshots)
        self._last_id = record.id
        self._add(record)
        return record

    def commit(
        self,
        record: SnapshotRecord,
        name: str,
        parent_name: str,
        labels: Mapping[str, str],
        usage: Usage,
        form: Form,
    ) -> SnapshotRecord:
        """Make a layer of an active snapshot, which then has another name.

        Its data, on the disk, is what `form` says.

        Raises:
            Refused: it went meanwhile, the name is taken, or the parent cannot be one.
        """
        self.require_committable(record, name)
        record = self._by_id[record.id]  # its labels may have changed
        parent = self._parent_at_commit(record, parent_name)
        now = time.time_ns()
        committed = structs.replace(
            record,
            name=name,
            key=record.name,
            kind=Kind.COMMITTED,
            parent=parent,
            labels=_checked(labels),
            created_ns=now,
            updated_ns=now,
            size=usage.size,
            inodes=usage.inodes,
            form=form,
        )
        self._write(committed)
        self._drop(record)
        self._add(committed)
        return committed

    def is_committed(self, name: str, key: str) -> bool:
        """Whether `name` was made of `key`, which is no more: by a commit whose answer was lost."""
        record = self._by_name.get(name)
        return record is not None and record.key == key and key not in self._by_name

    def require_committable(self, record: SnapshotRecord, name: str) -> None:
        """Make sure that a snapshot can become the layer `name`.

        Raises:
            Refused: it cannot.
        """
        _require_name(name)
        current = self._by_name.get(record.name)
        if current is None or current.id != record.id:
            raise Refused(Class.NOT_FOUND, f"snapshot {quoted(record.name)} does not exist")
        if name in self._by_name:
            raise Refused(Class.ALREADY_EXISTS, f"committed snapshot {quoted(name)}")
        if record.kind is not Kind.ACTIVE:
            raise Refused(
                Class.FAILED_PRECONDITION, f"snapshot {quoted(record.name)} is not active"
            )

    def update(
        self, name: str, labels: Mapping[str, str], field_paths: Iterable[str]
    ) -> SnapshotRecord:
        """Change labels: those that `field_paths` names, or all.

        Raises:
            Refused: a path that does not name labels.
        """
        record = self.get(name)
        changed = dict(record.labels)
        paths = list(field_paths)
        for path in paths or ["labels"]:
            start, dot, label = path.partition(".")
            if start != "labels" or (dot and not label):
                what = f"cannot update {quoted(path)} field on snapshot {quoted(name)}"
                raise Refused(Class.INVALID_ARGUMENT, what)
            if dot:
                changed[label] = labels.get(label, "")
            else:
                changed = dict(labels)
        updated = structs.replace(record, labels=_checked(changed), updated_ns=time.time_ns())
        self._write(updated)
        self._drop(record)
        self._add(updated)
        return updated

    def remove(self, name: str) -> None:
        """Take a snapshot out of the books; what is left of it goes when no mount needs it.

        Raises:
            Refused: others lie on it.
        """
        record = self.get(name)
        if self._children.get(record.id):
            raise Refused(
                Class.FAILED_PRECONDITION,
                f"failed to remove snapshot {quoted(name)}: cannot remove snapshot with child",
            )
        os.rename(self.places.snapshot(record.id), self.places.removed / str(record.id))
        self._drop(record)
        durable.sync_directory(self.places.snapshots)

    def _parent_of_new(self, name: str) -> SnapshotRecord | None:
        if not name:
            return None
        parent = self._by_name.get(name)
        if parent is None:
            raise Refused(Class.NOT_FOUND, f"missing parent {quoted(name)}")
        if parent.kind is not Kind.COMMITTED:
            what = f"parent {quoted(name)} is not committed snapshot"
            raise Refused(Class.INVALID_ARGUMENT, what)
        return parent

    def _parent_at_commit(self, record: SnapshotRecord, name: str) -> int:
        """The parent that a snapshot has from its commit on: one without may be given one."""
        if not name or name == self.parent_name(record):
            return record.parent
        if record.parent != NO_PARENT:
            what = f"cannot change parent of active snapshot {quoted(record.name)} on commit"
            raise Refused(Class.INVALID_ARGUMENT, what)
        parent = self._by_name.get(name)
        if parent is None:
            what = f"missing parent {quoted(name)} of snapshot {quoted(record.name)}"
            raise Refused(Class.NOT_FOUND, what)
        if parent.kind is not Kind.COMMITTED:
            raise Refused(Class.FAILED_PRECONDITION, f"parent {quoted(name)} is not committed")
        return parent.id

    def _fill(self, directory: Path, record: SnapshotRecord, parent: SnapshotRecord | None) -> None:
        if record.kind is Kind.ACTIVE:
            upper = directory / TREE
            if parent is None:
                upper.mkdir()
                upper.chmod(_ROOT_MODE)
            else:
                make_upper(os.fsencode(upper), os.fsencode(self.places.layer(parent)))
            (directory / WORK).mkdir(0o700)
        (directory / LEASE).touch(0o600)
        durable.write_file(directory / RECORD, records.encode(record), directory)

    @contextmanager
    def _staged(self) -> Iterator[Path]:
        directory = self.places.staging / secrets.token_hex(8)
        directory.mkdir(0o700)
        try:
            yield directory
        except BaseException:
            if directory.exists():
                durable.remove(directory)
            raise

    def _write(self, record: SnapshotRecord) -> None:
        directory = self.places.snapshot(record.id)
        durable.write_file(directory / RECORD, records.encode(record), self.places.staging)

    def _add(self, record: SnapshotRecord) -> None:
        self._by_id[record.id] = record
        self._by_name[record.name] = record
        self._children[record.parent] = self._children.get(record.parent, 0) + 1

    def _drop(self, record: SnapshotRecord) -> None:
        del self._by_id[record.id]
        del self._by_name[record.name]
        self._children[record.parent] -= 1

    def _read_all(self) -> None:
        for ident in idents(self.places.snapshots):
            path = self.places.snapshot(ident) / RECORD
            try:
                record = _read(path, ident)
            except CorruptStore as error:
                _log.warning("%s: %s", error.filename, error.why)
                self.is_whole = False
                continue
            if record.name in self._by_name:
                _log.warning("%s: another snapshot has its name", path)
                self.is_whole = False
                continue
            self._add(record)
        for record in self._by_id.values():
            if record.parent != NO_PARENT and record.parent not in self._by_id:
                _log.warning("snapshot %s: its parent is damaged", quoted(record.name))
                self.is_whole = False


def read_record(directory: Path, ident: int) -> SnapshotRecord:
    """Return the record of a snapshot's directory.

    Raises:
        CorruptStore: it has none that makes sense.
    """
    return _read(directory / RECORD, ident)


def _read(path: Path, ident: int) -> SnapshotRecord:
    record = records.read(path, SnapshotRecord)
    if record is None:
        raise CorruptStore(str(path), "there is none")
    if record.id != ident:
        raise CorruptStore(str(path), f"the record of {record.id}")
    why = records.fault(path)
    if why is not None:
        raise CorruptStore(str(path), why)
    return record


def _lock(places: SnapshotPlaces) -> locks.Lock:
    root = places.root
    root.mkdir(0o700, parents=True, exist_ok=True)
    if not places.version.exists() and not _OWN.issuperset(path.name for path in root.iterdir()):
        raise Failure(f"{root}: neither empty nor a root of snapshots")
    held = locks.try_acquire(places.lock, locks.Mode.EXCLUSIVE)
    if held is None:
        raise Failure(f"{root}: another process serves these snapshots")
    return held


def _prepare(places: SnapshotPlaces) -> None:
    """Make what is missing of a root; what a killed process was about to make goes."""
    for directory in (places.snapshots, places.removed, places.staging):
        directory.mkdir(0o700, exist_ok=True)
    places.empty.mkdir(exist_ok=True)
    places.empty.chmod(_ROOT_MODE)
    for path in list(places.staging.iterdir()):
        durable.remove(path)
    known = records.read(places.version, RootVersion)
    if known is None:
        durable.write_file(places.version, records.encode(RootVersion()), places.staging)
    elif known != RootVersion():
        raise Failure(f"{places.root}: of {known.kind}, version {known.version}")


def _require_name(name: str) -> None:
    if not name:
        raise Refused(Class.INVALID_ARGUMENT, "a snapshot needs a name")
    if len(name.encode()) > _LONGEST_NAME:
        raise Refused(Class.INVALID_ARGUMENT, f"name {quoted(name)} is too long")


def _checked(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels as they are kept: one of an empty value is none."""
    for name, value in labels.items():
        length = len(name.encode()) + len(value.encode())
        if length > _LONGEST_LABEL:
            raise Refused(
                Class.INVALID_ARGUMENT,
                f"label key and value length ({length} bytes) greater than maximum size"
                f" ({_LONGEST_LABEL} bytes), key: {quoted(name)}",
            )
    return {name: value for name, value in labels.items() if value}
