"""Records of builds: for each step its key, in parts, and the layer that came of it.

Each is a file of its own, `builds/steps/HEX`; the layer that it names stays as long as the record
does. The time of its file is when it was last used. A function that removes something needs the
store's lock exclusively, every other one shared.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import Digest, digest_of, digest_of_hex
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.store import durable, layers, records
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.leases import Kept, Kind
from overlayfs_py.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.places import Places


class StepRecord(Record, frozen=True, kw_only=True):
    """`builds/steps/HEX`: a step of a build, what it depended on and what it made."""

    key: str  # the digest of its parts
    instruction: str  # as the Dockerfile has it, on one line
    place: str  # which step of which Dockerfile: a hint where to look for what differs
    parts: tuple[tuple[str, str], ...]  # names and values, in the key's order
    table: str = ""  # the digest of what is known of each file that it took
    layer: str
    created_ns: int
    seconds: float  # that it took


class UsedStep(NamedTuple):
    """A record, and when it was used last."""

    record: StepRecord
    used_ns: int
    layer_bytes: int  # on the disk


def find(places: Places, key: Digest) -> StepRecord | None:
    """Return the record of a key, None if there is none.

    Raises:
        CorruptStore: it is damaged, or another key's.
    """
    path = places.build_step(key)
    record = records.read(path, StepRecord)
    if record is not None and record.key != key:
        raise CorruptStore(str(path), f"the record of {record.key}")
    return record


def put(places: Places, record: StepRecord, table: bytes) -> None:
    """Write a record, after what it refers to."""
    for directory in (places.builds, places.build_steps, places.build_tables):
        directory.mkdir(mode=0o700, exist_ok=True)
    if record.table and not places.build_table(Digest(record.table)).exists():
        durable.write_file(places.build_table(Digest(record.table)), table, places.staging)
    path = places.build_step(Digest(record.key))
    durable.write_file(path, records.encode(record), places.staging)


def latest(places: Places, most: int) -> list[StepRecord]:
    """The undamaged records that were used last, the latest first."""
    found = sorted(paths(places), key=_used_ns, reverse=True)[:most]
    return [record for path in found if (record := _undamaged(path)) is not None]


def all_used(places: Places) -> Iterator[UsedStep]:
    """Yield all undamaged records, the one used last first."""
    for path in sorted(paths(places), key=_used_ns, reverse=True):
        record = _undamaged(path)
        if record is not None:
            size = layers.size_on_disk(places.layer(Digest(record.layer)))
            yield UsedStep(record, _used_ns(path), size)


def all_needed(places: Places) -> set[Kept]:
    """The layers that must stay for builds to come."""
    known = (record for path in paths(places) if (record := _undamaged(path)) is not None)
    return {Kept(Kind.LAYER, Digest(record.layer)) for record in known}


def faults(places: Places) -> Iterator[tuple[Path, str]]:
    """Yield what is wrong with a record or a table, and where."""
    for path in paths(places):
        fault = _fault(places, path)
        if fault is not None:
            yield path, fault
    for path in _tables(places):
        with suppress(FileNotFoundError):
            if digest_of(durable.read_file(path)) != digest_of_hex(path.name):
                yield path, "its bytes have been changed"


def remove(places: Places, used: UsedStep) -> int:
    """Remove a record; returns the bytes that it took up itself."""
    path = places.build_step(Digest(used.record.key))
    size = layers.size_on_disk(path)
    path.unlink(missing_ok=True)
    return size


def remove_unused_tables(places: Places) -> int:
    """Remove tables that no record refers to any more; returns their bytes."""
    needed = {record.table for path in paths(places) if (record := _undamaged(path))}
    unused = [path for path in _tables(places) if digest_of_hex(path.name) not in needed]
    size = sum(map(layers.size_on_disk, unused))
    for path in unused:
        path.unlink(missing_ok=True)
    return size


def _fault(places: Places, path: Path) -> str | None:
    try:
        record = find(places, digest_of_hex(path.name))
        if record is None:
            return None  # gone meanwhile
        changed = records.fault(path)
        if changed is None and layers.find(places, records.digest_in(path, record.layer)) is None:
            return f"there is no layer {record.layer}"
    except CorruptStore as error:
        return error.why
    return changed


def _undamaged(path: Path) -> StepRecord | None:
    """A damaged one is as good as none: `fsck` tells of it, and the step is run again."""
    try:
        return records.read(path, StepRecord)
    except CorruptStore:
        return None


def paths(places: Places) -> list[Path]:
    """The files of all records."""
    return _hex_named(places.build_steps)


def _tables(places: Places) -> list[Path]:
    return _hex_named(places.build_tables)


def _hex_named(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if records.is_hex(path.name))
    except FileNotFoundError:  # a store in which nothing was ever built
        return []


def _used_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
