"""What a store's room is used for, in bytes on the disk.

Needs the store's lock, exclusively, since it asks who holds what.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import digest_of_hex
from overlayfs_py.store import (
    build_records,
    cache_mounts,
    collection,
    coming,
    containers,
    images,
    layers,
    leases,
    locks,
    records,
    stacks,
)
from overlayfs_py.store.containers import MountKind
from overlayfs_py.store.leases import Kept, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.places import Places


@dataclass(frozen=True, slots=True)
class ImageUsage:
    """One image's part."""

    image: StoredImage
    shared_bytes: int  # of layers that other images have, too
    unique_bytes: int  # what would go with it
    is_mounted: bool

    @property
    def total_bytes(self) -> int:
        return self.shared_bytes + self.unique_bytes


@dataclass(frozen=True, slots=True)
class Amount:
    """How many of a kind there are, and how much of it nobody needs."""

    count: int
    active: int
    total_bytes: int
    reclaimable_bytes: int


@dataclass(frozen=True, slots=True)
class Usage:
    """All of a store."""

    images: tuple[ImageUsage, ...]
    layers: Amount
    blobs: Amount
    containers: Amount  # what they have changed, and their output; nobody needs what does not run
    volumes: Amount
    snapshots: Amount  # uppers of before that containers have
    builds: Amount  # steps and cache mounts, and the layers that nothing else needs
    downloads: Amount
    leftovers: Amount  # of killed processes, and what `fsck --repair` put into quarantine

    @property
    def total_bytes(self) -> int:
        amounts = (self.layers, self.blobs, self.containers, self.volumes, self.snapshots)
        others = (self.builds, self.downloads, self.leftovers)
        return sum(each.total_bytes for each in (*amounts, *others))


def usage(places: Places) -> Usage:
    """Measure a store. Where an image is damaged nothing is reclaimable: see `collect`."""
    found = images.all_images(places)
    needed = collection.needed_by_images(places)
    kept = None if needed is None else needed | leases.all_kept(places.staging)
    used = _used_volumes(places, is_known=needed is not None)
    of_builds = _layers_of_builds(places)
    return Usage(
        _images(places, found),
        _layers(places, kept, of_builds),
        _blobs(places, kept),
        _amount(_below(places.containers), lambda path: containers.is_running(places, path.name)),
        _amount(_below(places.volumes), lambda path: path.name in used),
        _snapshots(places, is_known=needed is not None),
        _builds(places, of_builds),
        _downloads(places),
        _leftovers(places),
    )


def _images(places: Places, found: Iterable[StoredImage]) -> tuple[ImageUsage, ...]:
    ids = {image.image_id: {layer.diff_id for layer in image.layers} for image in found}
    users = Counter(diff_id for diff_ids in ids.values() for diff_id in diff_ids)
    return tuple(
        ImageUsage(
            image,
            sum(
                layer.record.stored_size for layer in image.layers_once if users[layer.diff_id] > 1
            ),
            sum(
                layer.record.stored_size for layer in image.layers_once if users[layer.diff_id] == 1
            ),
            collection.is_used(places, image.manifest.digest),
        )
        for image in found
    )


def _layers_of_builds(places: Places) -> set[Digest]:
    """Those that nothing but the cache of builds needs; none where nobody can tell."""
    needed = collection.needed_by_images(places, with_builds=False)
    if needed is None:
        return set()
    needed |= leases.all_kept(places.staging)
    return {
        kept.digest
        for kept in build_records.all_needed(places) - needed
        if not collection.is_used(places, kept.digest)
    }


def _builds(places: Places, of_builds: set[Digest]) -> Amount:
    """Of the cache of builds nobody needs but what a step has just now."""
    mounts = cache_mounts.paths(places)
    held = [path for path in mounts if locks.is_held(path / cache_mounts.LOCK)]
    total = sum(layers.size_on_disk(places.layer(diff_id)) for diff_id in of_builds)
    total += layers.size_on_disk(places.builds) if places.builds.exists() else 0
    count = len(build_records.paths(places)) + len(mounts)
    return Amount(count, len(held), total, total - sum(map(layers.size_on_disk, held)))


def _layers(places: Places, kept: set[Kept] | None, of_builds: set[Digest]) -> Amount:
    ids = [diff_id for diff_id in layers.all_ids(places) if diff_id not in of_builds]
    sizes = {diff_id: layers.size_on_disk(places.layer(diff_id)) for diff_id in ids}
    for diff_id in coming.all_ids(places):
        if diff_id not in sizes:  # a pack that has just become whole has two names
            ids.append(diff_id)
            sizes[diff_id] = layers.size_on_disk(places.coming_layer(diff_id))
    used = {diff_id for diff_id in ids if collection.is_used(places, diff_id)}
    free = [
        size
        for diff_id, size in sizes.items()
        if kept is not None and Kept(Kind.LAYER, diff_id) not in kept and diff_id not in used
    ]
    return Amount(len(ids), len(used), sum(sizes.values()), sum(free))


def _blobs(places: Places, kept: set[Kept] | None) -> Amount:
    paths = [path for path in places.blobs.iterdir() if records.is_hex(path.name)]
    sizes = {digest_of_hex(path.name): layers.size_on_disk(path) for path in paths}
    free = [
        size
        for digest, size in sizes.items()
        if kept is not None and Kept(Kind.BLOB, digest) not in kept
    ]
    return Amount(len(sizes), len(sizes) - len(free), sum(sizes.values()), sum(free))


def _below(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.exists() else []


def _used_volumes(places: Places, *, is_known: bool) -> set[str]:
    """Those that containers have; all, where a record is damaged."""
    if not is_known:
        return {path.name for path in _below(places.volumes)}
    return {
        mount.source
        for record in containers.all_records(places)
        for mount in record.mounts
        if mount.kind is MountKind.VOLUME
    }


def _snapshots(places: Places, *, is_known: bool) -> Amount:
    paths = [places.snapshot(name) for name in stacks.all_layers(places)]
    needed = stacks.all_needed(places) if is_known and paths else {path.name for path in paths}
    return _amount(paths, lambda path: path.name in needed)


def _downloads(places: Places) -> Amount:
    return _amount(places.partial.iterdir(), locks.is_held)


def _leftovers(places: Places) -> Amount:
    dead = set(leases.leftovers(places.staging))
    paths = [*places.staging.iterdir(), *places.quarantine.iterdir()]
    return _amount(paths, lambda path: path.parent == places.staging and path not in dead)


def _amount(paths: Iterable[Path], is_active: Callable[[Path], bool]) -> Amount:
    sizes = {path: layers.size_on_disk(path) for path in paths}
    active = [path for path in sizes if is_active(path)]
    total = sum(sizes.values())
    return Amount(len(sizes), len(active), total, total - sum(sizes[path] for path in active))
