"""What is wrong with a store. Other processes may work on it meanwhile.

Plan: one stage after the other, each looking at the store as it is then. Who repairs between two
problems sees what follows from it: an image that lost a layer comes after the layer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import Digest, digest_of_hex
from overlayfs_py.store import (
    build_records,
    coming,
    coming_checks,
    container_checks,
    images,
    layers,
    records,
    stacks,
)
from overlayfs_py.store.locks import LOCK_NAMES
from overlayfs_py.store.places import BRINGING, COMING_FILES, GONE, LAYER_FILES
from overlayfs_py.store.records import TagEntry
from overlayfs_py.store.verification import fault_of_blob, fault_of_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from overlayfs_py.store.locks import StoreLock
    from overlayfs_py.store.places import Places


class Trouble(Enum):
    """What kind of thing is wrong."""

    BLOB = "blob"
    LAYER = "layer"
    IMAGE = "image"
    TAG = "tag"
    BUILD = "build cache"
    CONTAINER = "container"
    LOST_CONTAINER = "container's record"
    LOST_VOLUME = "volume's record"
    FOREIGN = "file"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    trouble: Trouble
    path: Path  # the file, or the layer's directory
    name: str  # what people call it
    why: str
    identity: tuple[int, int]  # of the file that was looked at: another one may be right

    def __str__(self) -> str:
        return f"{self.trouble.value} {self.name}: {self.why}"


def problems(places: Places, lock: StoreLock, *, deep: bool) -> Iterator[Problem]:
    """Yield everything that is wrong, data first, then what refers to it.

    With `deep` each layer's tar is made again, too.
    """
    yield from _blobs(places)
    damaged: set[Digest] = set()
    for problem in _layers(places, deep=deep):
        damaged.add(Digest(problem.name))
        yield problem
    yield from _locked(lock, lambda: _images(places, damaged))
    yield from _locked(lock, lambda: _tags(places))
    yield from _locked(lock, lambda: _builds(places))
    yield from _locked(lock, lambda: _records(places))
    yield from _locked(lock, lambda: _containers(places))
    yield from _locked(lock, lambda: _foreign(places))


def _locked(lock: StoreLock, stage: Callable[[], Iterator[Problem]]) -> list[Problem]:
    with lock.shared():
        return list(stage())


def _problem(trouble: Trouble, path: Path, name: str, why: str) -> Problem | None:
    """The problem with what is there, None if it is gone."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return Problem(trouble, path, name, why, (status.st_dev, status.st_ino))


def _blobs(places: Places) -> Iterator[Problem]:
    for path in sorted(places.blobs.iterdir()):
        if not records.is_hex(path.name):
            continue
        try:
            fault = fault_of_blob(path)
        except FileNotFoundError:
            continue
        if fault and (found := _problem(Trouble.BLOB, path, digest_of_hex(path.name), fault)):
            yield found


def _layers(places: Places, *, deep: bool) -> Iterator[Problem]:
    for diff_id in layers.all_ids(places):
        fault = fault_of_layer(places, diff_id, deep=deep)
        if fault and (found := _problem(Trouble.LAYER, places.layer(diff_id), diff_id, fault)):
            yield found
    for diff_id in coming.all_ids(places):
        fault = coming_checks.fault(places, diff_id)
        place = places.coming_layer(diff_id)
        if fault and (found := _problem(Trouble.LAYER, place, diff_id, fault)):
            yield found


def _images(places: Places, damaged: set[Digest]) -> Iterator[Problem]:
    for path in sorted(places.images.iterdir()):
        if not records.is_hex(path.name):
            continue
        manifest = digest_of_hex(path.name)
        fault = _fault_of_image(places, manifest, damaged)
        if fault and (found := _problem(Trouble.IMAGE, path, manifest, fault)):
            yield found


def _fault_of_image(places: Places, manifest: Digest, damaged: set[Digest]) -> str | None:
    try:
        image = images.require(places, manifest)
    except OverlayError as error:
        return f"{error.filename}: {error.strerror}"
    if image.entry.config != image.image_id:
        return f"its entry says that its ID is {image.entry.config}"
    changed = records.fault(places.image(manifest))
    if changed is not None:
        return changed
    broken = [diff_id for diff_id in image.config.diff_ids if diff_id in damaged]
    return f"{broken[0]}: damaged layer" if broken else None


def _tags(places: Places) -> Iterator[Problem]:
    for path in sorted(places.tags.iterdir()):
        if not records.is_hex(path.name):
            continue
        name, fault = _fault_of_tag(places, path)
        if fault and (found := _problem(Trouble.TAG, path, name, fault)):
            yield found


def _fault_of_tag(places: Places, path: Path) -> tuple[str, str | None]:
    try:
        entry = records.read(path, TagEntry)
        if entry is None:
            return path.name, None
        manifest = records.digest_in(path, entry.manifest)
        changed = records.fault(path)
    except OverlayError as error:
        return path.name, error.strerror
    if changed is not None:
        return entry.reference, changed
    if places.tag(entry.reference) != path:
        return path.name, f"it names {entry.reference}, whose place is another"
    place = places.image(manifest)
    if not any(map(os.path.lexists, (place, place.with_suffix(GONE)))):
        return entry.reference, f"there is no image {manifest}"
    return entry.reference, None


def _builds(places: Places) -> Iterator[Problem]:
    for path, fault in build_records.faults(places):
        if found := _problem(Trouble.BUILD, path, path.name[:12], fault):
            yield found


def _records(places: Places) -> Iterator[Problem]:
    """Containers and volumes that are not what their records say, or have none."""
    found = [(Trouble.LOST_CONTAINER, fault) for fault in container_checks.of_containers(places)]
    found += [(Trouble.LOST_VOLUME, fault) for fault in container_checks.of_volumes(places)]
    for lost, fault in found:
        trouble = lost if fault.is_lost else Trouble.CONTAINER
        if problem := _problem(trouble, fault.directory, fault.name, fault.why):
            yield problem


def _containers(places: Places) -> Iterator[Problem]:
    """Containers whose snapshots are damaged."""
    if not places.containers.exists():
        return
    for directory in sorted(places.containers.iterdir()):
        path = directory / stacks.FILE
        fault = _fault_of_stack(places, path)
        if fault and (found := _problem(Trouble.CONTAINER, path, directory.name[:12], fault)):
            yield found


def _fault_of_stack(places: Places, path: Path) -> str | None:
    try:
        gone = stacks.missing(places, path.parent, stacks.read(path.parent))
        changed = records.fault(path)
    except OverlayError as error:
        return f"{error.filename}: {error.strerror}"
    if changed is not None:
        return changed
    return f"its layer snapshots/{min(gone)} is missing" if gone else None


def _foreign(places: Places) -> Iterator[Problem]:
    """What the store never makes."""
    for path in _foreign_paths(places):
        name = str(path.relative_to(places.root))
        if found := _problem(Trouble.FOREIGN, path, name, "not a file of a store"):
            yield found


def _foreign_paths(places: Places) -> Iterator[Path]:
    for directory in places.directories:
        if directory not in (places.staging, places.quarantine):
            for path in sorted(directory.iterdir()):
                if not _is_ours(places, path):
                    yield path
    if places.snapshots.exists():
        yield from (p for p in places.snapshots.iterdir() if not stacks.is_layer(p.name))
    for diff_id in layers.all_ids(places):
        for path in sorted(places.layer(diff_id).iterdir()):
            if path.name not in LAYER_FILES:
                yield path
    for diff_id in coming.all_ids(places):
        for path in sorted(places.coming_layer(diff_id).iterdir()):
            if path.name not in COMING_FILES:
                yield path
    if places.coming.exists():
        for path in sorted(places.coming.iterdir()):
            if path.name not in BRINGING and not records.is_hex(path.name):
                yield path


def _is_ours(places: Places, path: Path) -> bool:
    if path.parent in (places.root, places.blobs.parent):
        others = (places.version, places.empty, places.containers, places.volumes, places.builds)
        return path in (*places.directories, *others, places.snapshots, places.coming)
    if path.parent == places.locks:
        kind, _, digits = path.name.partition("-")
        return path.name in LOCK_NAMES or (kind in ("use", "ingest") and records.is_hex(digits))
    if path.parent == places.images:
        return records.is_hex(path.name.removesuffix(GONE))
    return records.is_hex(path.name)
