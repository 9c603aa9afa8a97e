"""Deleting what no image refers to, no living process keeps, and nobody has mounted.

Needs the store's lock, exclusively, except for `sweep`. What is large is only moved out of sight
under the lock and deleted afterwards.
"""

from __future__ import annotations

import errno
import os
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import Digest, digest_of_hex
from overlayfs_py.store import (
    build_records,
    coming,
    containers,
    durable,
    images,
    layers,
    leases,
    locks,
    names,
    records,
)
from overlayfs_py.store.leases import Kept, Kind
from overlayfs_py.store.places import RECORD

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.places import Places
    from overlayfs_py.store.records import ImageEntry

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class Collected:
    """What was deleted."""

    layers: set[Digest] = field(default_factory=set)
    blobs: set[Digest] = field(default_factory=set)
    freed_bytes: int = 0
    _gone: list[Path] = field(default_factory=list)  # out of sight, still to be deleted

    def sweep(self) -> None:
        """Delete what was moved out of sight; the store's lock is not needed."""
        for path in self._gone:
            leases.discard(path)
        self._gone.clear()

    def take(self, path: Path, size: int) -> None:
        """Note something that is out of sight."""
        self._gone.append(path)
        self.freed_bytes += size


def collect(places: Places, *, rubbish: bool) -> Collected:
    """Delete all that is not needed.

    Args:
        places: the store.
        rubbish: unfinished downloads that nobody is at, too, so that a later pull begins anew;
            and what is in quarantine.
    """
    collected = Collected()
    for path in leases.leftovers(places.staging):
        collected.take(path, layers.size_on_disk(path))
    names.finish_withdrawals(places)
    needed = needed_by_images(places)
    if needed is not None:
        needed |= leases.all_kept(places.staging)
        _collect_layers(places, needed, collected)
        _collect_blobs(places, needed, collected)
    if rubbish:
        _collect_downloads(places, collected)
        for path in places.quarantine.iterdir():
            collected.take(path, layers.size_on_disk(path))
    _remove_locks(places)
    return collected


def needed_by_images(places: Places, *, with_builds: bool = True) -> set[Kept] | None:
    """What images, containers and, if they count, builds refer to.

    None where nobody can tell: one is damaged.
    """
    try:
        needed = containers.all_needed(places)
        if with_builds:
            needed |= build_records.all_needed(places)
        for entry in names.require_entries(places):
            needed |= _needed_by(places, entry)
    except OverlayError:
        # `fsck` says what is wrong, `fsck --repair` removes the image.
        return None
    return needed


def _needed_by(places: Places, entry: ImageEntry) -> set[Kept]:
    manifest = images.manifest_of(places, entry)
    config = images.config_of(places, manifest)
    digests = {manifest.digest, config.image_id} | ({Digest(entry.index)} if entry.index else set())
    digests |= {layer.digest for layer in manifest.layers}  # where a pull was told to keep them
    return {Kept(Kind.BLOB, digest) for digest in digests} | {
        Kept(Kind.LAYER, diff_id) for diff_id in config.diff_ids
    }


def _collect_layers(places: Places, needed: set[Kept], collected: Collected) -> None:
    for diff_id in layers.all_ids(places):
        if Kept(Kind.LAYER, diff_id) not in needed and not is_used(places, diff_id):
            place = places.layer(diff_id)
            size = layers.size_on_disk(place)
            collected.take(_out_of_sight(places, place), size)
            collected.layers.add(diff_id)
    durable.sync_directory(places.layers)
    for diff_id in coming.all_ids(places):
        is_whole = places.layer_record(diff_id).exists()
        is_needed = Kept(Kind.LAYER, diff_id) in needed and not is_whole
        if not is_needed and not is_used(places, diff_id):
            place = places.coming_layer(diff_id)
            # Of one that is whole by now the other name keeps the bytes.
            size = 0 if is_whole else layers.size_on_disk(place)
            collected.take(_out_of_sight(places, place), size)


def _out_of_sight(places: Places, layer: Path) -> Path:
    """Make a layer none, by one rename."""
    gone = places.staging / f"gone-{secrets.token_hex(8)}"
    try:
        os.rename(layer, gone)
    except OSError as error:
        if error.errno not in _FULL:
            raise
        # No room for the new name. Without a record a layer is none either.
        (layer / RECORD).unlink(missing_ok=True)
        return layer
    return gone


def _collect_blobs(places: Places, needed: set[Kept], collected: Collected) -> None:
    for path in sorted(places.blobs.iterdir()):
        if not records.is_hex(path.name):
            continue
        digest = digest_of_hex(path.name)
        if Kept(Kind.BLOB, digest) not in needed:
            collected.freed_bytes += layers.size_on_disk(path)
            collected.blobs.add(digest)
            path.unlink()
    durable.sync_directory(places.blobs)


def _collect_downloads(places: Places, collected: Collected) -> None:
    for path in sorted(places.partial.iterdir()):
        size = layers.size_on_disk(path)
        if records.is_hex(path.name) and _removed_if_free(path):
            collected.freed_bytes += size


def _remove_locks(places: Places) -> None:
    for path in places.locks.iterdir():
        if path.name.startswith(("use-", "ingest-")):
            _removed_if_free(path)


def _removed_if_free(path: Path) -> bool:
    """Remove a lock file unless somebody holds it.

    Whoever waits for it meanwhile sees that it is not the file it was, and makes a new one.
    """
    try:
        held = locks.try_acquire(path, locks.Mode.EXCLUSIVE)
    except OSError as error:
        if error.errno in _FULL:
            return False  # it was gone, and there is no room to make it
        raise
    if held is None:
        return False
    with held:
        path.unlink(missing_ok=True)
    return True


def is_used(places: Places, digest: Digest) -> bool:
    """Whether anybody has a layer, or the image of a manifest, mounted."""
    places_of_it = (places.use(digest), places.layer(digest), places.coming_layer(digest))
    return any(locks.is_held(path, shared=True) for path in places_of_it)
