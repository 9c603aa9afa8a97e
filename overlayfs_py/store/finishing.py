"""Making a layer whole: its pack becomes one like all others, once its tar has the diff ID."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.store import coming, durable, leases, locks, records
from overlayfs_py.store.collection import is_used
from overlayfs_py.store.coming_checks import fault_of_whole
from overlayfs_py.store.places import PACK, RECORD

if TYPE_CHECKING:
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.locks import StoreLock
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.stored_layer import StoredLayer


def finish(places: Places, lock: StoreLock, diff_id: Digest) -> str | None:
    """Make a layer one like all others, all of whose chunks are here; returns what is wrong.

    Mounts that have the pack open by its first name keep it. So has whoever was told that name and
    has not opened it yet: it goes when nobody uses the layer.
    """
    layer = coming.find(places, diff_id)
    if layer is None:
        return None
    fault = fault_of_whole(layer)
    if fault is not None:
        _give_up(places, lock, diff_id)
        return fault
    durable.sync_file(places.coming_layer(diff_id) / PACK)
    with locks.acquire(places.layer_ingest(diff_id), locks.Mode.EXCLUSIVE), lock.exclusive():
        if coming.find(places, diff_id) is None:
            return None  # another process was first
        if not places.layer_record(diff_id).exists():
            _link(places, layer)
        if is_used(places, diff_id):
            return None
        gone = places.staging / f"gone-{durable.random_hex(8)}"
        os.rename(places.coming_layer(diff_id), gone)
    leases.discard(gone)
    return None


def _link(places: Places, layer: StoredLayer) -> None:
    staged = places.staging / f"gone-{durable.random_hex(8)}"  # rubbish, if this is its end
    staged.mkdir(mode=0o700)
    try:
        os.link(layer.path, staged / PACK)
        durable.write_file(staged / RECORD, records.encode(layer.record), staged)
        durable.sync_directory(staged)
        target = places.layer(layer.diff_id)
        if target.exists():  # without a record: it is no layer
            durable.remove(target)
        os.rename(staged, target)
        durable.sync_directory(places.layers)
    finally:
        if staged.exists():
            durable.remove(staged)


def _give_up(places: Places, lock: StoreLock, diff_id: Digest) -> None:
    """Let a layer be none of which it has turned out that its pack is another one."""
    with lock.exclusive():
        (places.coming_layer(diff_id) / RECORD).unlink(missing_ok=True)
        durable.sync_directory(places.coming_layer(diff_id))
