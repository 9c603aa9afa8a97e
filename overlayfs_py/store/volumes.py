"""Named volumes: directories that outlive the containers that use them.

A volume is one directory, `volumes/NAME`, with its record and `data/`. A function that changes
something needs the store's lock exclusively, every other one shared.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from overlayfs_py.store import containers, durable, leases, records
from overlayfs_py.store.containers import NAME, MountKind
from overlayfs_py.store.failures import CorruptStore, InUse, NoSuchVolume
from overlayfs_py.store.records import Record

if TYPE_CHECKING:
    from overlayfs_py.store.locks import StoreLock
    from overlayfs_py.store.places import Places

RECORD = "volume.json"
DATA = "data"


class VolumeRecord(Record, frozen=True, kw_only=True):
    """`volumes/NAME/volume.json`: what a volume is."""

    name: str
    created_ns: int
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    anonymous: bool = False  # its name was made up
    is_filled: bool = False  # whether it has had its chance to take what an image has at its place
    # Docker's for a directory of the host's in place of ours: type=none, o=bind[,ro], device=PATH.
    options: dict[str, str] = msgspec.field(default_factory=dict)


class VolumePlace(NamedTuple):
    """Where a volume's files are."""

    path: Path
    is_own: bool = True  # and not a directory of the host's, which stays when the volume goes
    read_only: bool = False


class Volumes:
    """The one door to a store's volumes; every call is atomic to all others."""

    def __init__(self, places: Places, lock: StoreLock) -> None:
        self._places = places
        self._lock = lock

    def create(
        self,
        name: str,
        *,
        labels: dict[str, str] | None = None,
        anonymous: bool = False,
        options: dict[str, str] | None = None,
    ) -> VolumeRecord:
        """Make a volume, or return the one that is there."""
        with self._lock.exclusive():
            return create(self._places, name, labels=labels, anonymous=anonymous, options=options)

    def replace(self, record: VolumeRecord) -> None:
        """Let a volume that is there have another record."""
        with self._lock.exclusive():
            replace(self._places, record)

    def all(self) -> list[VolumeRecord]:
        """All volumes, by name."""
        with self._lock.shared():
            return all_records(self._places)

    def get(self, name: str) -> VolumeRecord:
        """Return a volume; raises NotInStore."""
        with self._lock.shared():
            return require(self._places, name)

    def users(self, name: str) -> list[str]:
        """The IDs of the containers that have the volume."""
        with self._lock.shared():
            return users(self._places, name)

    def data(self, name: str) -> Path:
        """Where a volume's files are."""
        return self.place(name).path

    def place(self, name: str) -> VolumePlace:
        """The same, and whose place that is."""
        record = find(self._places, name)
        if record is None or not record.options:
            return VolumePlace(self.directory(name) / DATA)
        words = record.options["o"].split(",")
        return VolumePlace(Path(record.options["device"]), is_own=False, read_only="ro" in words)

    def directory(self, name: str) -> Path:
        """A directory of the volume's own, wherever its files are."""
        return self._places.volume(name)

    def remove(self, name: str) -> None:
        """Remove a volume with what is in it; raises NotInStore, InUse."""
        with self._lock.exclusive():
            gone = take_away(self._places, name)
        leases.discard(gone)


def new_name() -> str:
    """A name that no volume has."""
    return durable.random_hex(32)


def create(
    places: Places,
    name: str,
    *,
    labels: dict[str, str] | None = None,
    anonymous: bool = False,
    options: dict[str, str] | None = None,
) -> VolumeRecord:
    """Make a volume; one that is there stays as it is, as docker has it.

    The name must match `containers.NAME`.
    """
    known = find(places, name)
    if known is not None:
        return known
    record = VolumeRecord(
        name=name,
        created_ns=time.time_ns(),
        labels=labels or {},
        anonymous=anonymous,
        options=options or {},
    )
    staged = places.staging / f"new-{durable.random_hex(8)}"
    staged.mkdir(mode=0o700)
    try:
        data = staged / DATA
        data.mkdir()
        data.chmod(0o755)  # whatever the umask
        durable.write_file(staged / RECORD, records.encode(record), staged)
        places.volumes.mkdir(mode=0o700, exist_ok=True)
        staged.rename(places.volume(name))
    except BaseException:
        durable.remove(staged)
        raise
    durable.sync_directory(places.volumes)
    return record


def replace(places: Places, record: VolumeRecord) -> None:
    """Let a volume that is there have another record."""
    path = places.volume(record.name) / RECORD
    durable.write_file(path, records.encode(record), places.staging)


def find(places: Places, name: str) -> VolumeRecord | None:
    """Return a volume, None if it is not there.

    Raises:
        CorruptStore: its record is damaged, or another volume's.
    """
    if NAME.fullmatch(name) is None:
        return None
    path = places.volume(name) / RECORD
    record = records.read(path, VolumeRecord)
    if record is not None and record.name != name:
        raise CorruptStore(str(path), f"the record of {record.name}")
    return record


def require(places: Places, name: str) -> VolumeRecord:
    """Return a volume.

    Raises:
        NotInStore: it is not there.
    """
    found = find(places, name)
    if found is None:
        raise NoSuchVolume(name)
    return found


def all_records(places: Places) -> list[VolumeRecord]:
    """All volumes, by name."""
    try:
        names = sorted(path.name for path in places.volumes.iterdir())
    except FileNotFoundError:  # a store in which none was ever made
        return []
    found = (find(places, name) for name in names)
    return [record for record in found if record is not None]


def users(places: Places, name: str) -> list[str]:
    """The IDs of the containers that have the volume, running or not."""
    return [
        record.id
        for record in containers.all_records(places)
        if any(mount.kind is MountKind.VOLUME and mount.source == name for mount in record.mounts)
    ]


def take_away(places: Places, name: str) -> Path:
    """Put a volume out of sight, by one rename; returns what is left to be removed.

    Raises:
        NotInStore: it is not there.
        InUse: a container has it.
    """
    require(places, name)
    using = users(places, name)
    if using:
        raise InUse(name, f"volume is in use by container {', '.join(i[:12] for i in using)}")
    gone = places.staging / f"gone-{durable.random_hex(8)}"
    places.volume(name).rename(gone)
    durable.sync_directory(places.volumes)
    return gone
