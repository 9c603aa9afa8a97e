"""Deleting what no snapshot and no mount needs any more.

Runs in a thread, beside changes of the books: it touches nothing that these can still reach.
"""

from __future__ import annotations

import errno
import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.backends.snapshot_books import read_record
from overlayfs_py.backends.snapshot_places import LEASE, PACK, RECORD, TREE, WORK, idents
from overlayfs_py.backends.snapshot_records import NO_PARENT, Kind
from overlayfs_py.drivers import mountinfo, mounting
from overlayfs_py.store import durable, locks
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.records import Form

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from overlayfs_py.backends.snapshot_places import SnapshotPlaces
    from overlayfs_py.backends.snapshot_records import SnapshotRecord

_log = logging.getLogger(__name__)


def collect(places: SnapshotPlaces) -> None:
    """Delete removed snapshots, except those that a mount still shows, and what these lie on."""
    clear_dead_mounts(places, idents(places.removed))
    gone = {ident: places.removed / str(ident) for ident in idents(places.removed)}
    parents = {ident: _parent(path, ident) for ident, path in gone.items()}
    needed: set[int] = set()
    for ident, path in gone.items():
        if is_mounted(path):
            while ident in gone and ident not in needed:
                needed.add(ident)
                ident = parents[ident]
    # What lies on others goes before them: a process killed here leaves all that is needed to
    # see this again.
    for ident in sorted(gone.keys() - needed, reverse=True):
        durable.remove(gone[ident])


def tidy(places: SnapshotPlaces, records: Iterable[SnapshotRecord]) -> None:
    """Delete what commits have left beside their layers when they were killed."""
    for record in records:
        if record.kind is Kind.COMMITTED:
            drop_leftovers(places.snapshot(record.id), record.form)
        elif record.kind is Kind.ACTIVE:
            remove_if_there(places.snapshot(record.id) / PACK)


def drop_leftovers(directory: Path, form: Form) -> None:
    """Delete what a committed snapshot needs no more."""
    with suppress(FileNotFoundError):  # it was removed meanwhile
        remove_if_there(directory / WORK)
        remove_if_there(directory / (TREE if form is Form.PACK else PACK))


def remove_if_there(path: Path) -> None:
    """Delete whatever lies there."""
    if os.path.lexists(path):
        durable.remove(path)


def is_mounted(directory: Path) -> bool:
    """Whether a daemon of ours shows the snapshot; asking holds its lease for an instant."""
    return locks.is_held(directory / LEASE, shared=True)


def clear_dead_mounts(places: SnapshotPlaces, ids: Iterable[int]) -> None:
    """Unmount what is left of snapshots' mounts whose daemons were killed."""
    sources = {os.fsencode(places.source(ident)) for ident in ids}
    if not sources:
        return
    for mount in mountinfo.below(b"/"):
        if mount.source in sources and mount.kind.startswith(b"fuse.") and _is_dead(mount.target):
            _log.warning("%s: its daemon was killed; unmounted", os.fsdecode(mount.target))
            with suppress(OSError):  # another process was quicker
                mounting.unmount(mount.target, lazy=True)


def _is_dead(target: bytes) -> bool:
    try:
        os.statvfs(target)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def _parent(path: Path, ident: int) -> int:
    try:
        return read_record(path, ident).parent
    except CorruptStore as error:
        _log.warning("%s: %s", path / RECORD, error.why)
        return NO_PARENT
