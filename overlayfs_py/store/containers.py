"""Containers: each is one directory, `containers/ID`, whose record says what it is made of.

Only the record is the store's. What runs in a container, its upper and its output belong to its
monitor, which holds `lock` as long as it lives. A function that changes something needs the
store's lock exclusively, every other one shared.
"""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image.digest import Digest
from overlayfs_py.late_import import late_pattern
from overlayfs_py.store import durable, layers, leases, locks, records, stacks
from overlayfs_py.store.failures import Ambiguous, CorruptStore, InUse, NoSuchContainer
from overlayfs_py.store.leases import Kept, Kind
from overlayfs_py.store.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.layers import LayersInUse
    from overlayfs_py.store.locks import StoreLock
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.stacks import Placed, Stack

RECORD = "container.json"
LOCK = "lock"
VISITORS = "visitors"  # held while a process has the files of one that does not run mounted
NAME = late_pattern(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")  # docker's RestrictedNameChars
_ID = late_pattern("[0-9a-f]{64}")


class MountKind(Enum):
    """What a container finds at a place besides its image's own files."""

    VOLUME = "volume"
    BIND = "bind"
    TMPFS = "tmpfs"


class ContainerMount(Record, frozen=True, kw_only=True):
    """One mount of a container."""

    kind: MountKind
    source: str = ""  # the volume's name, or an absolute path of the host
    target: str  # absolute, inside
    read_only: bool = False
    anonymous: bool = False  # a volume that was made for this container and goes with it
    no_copy: bool = False  # whether a new volume stays empty, whatever the image has there
    options: str = ""  # a tmpfs's, as mount(8) takes them


class PublishedPort(Record, frozen=True, kw_only=True):
    """A port of the host that leads into a container."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""  # empty: every address
    host_port: int = 0  # 0: one that is free at every start
    host_port_last: int = 0  # above host_port: any one from there to here


class Health(Record, frozen=True, kw_only=True):
    """How to find out whether a container works; times in nanoseconds, 0 for docker's defaults."""

    test: tuple[str, ...]  # CMD, its words; or CMD-SHELL and a line
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0


class ContainerRecord(Record, frozen=True, kw_only=True):
    """`containers/ID/container.json`: what a container is, running or not."""

    id: str  # 64 hexadecimal digits
    name: str
    created_ns: int
    # The image as it was named, and what that meant.
    image: str
    image_id: str
    manifest: str
    diff_ids: tuple[str, ...]  # lowest first
    # What runs. The image's own values are in here already.
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()  # K=V
    user: str = ""
    user_is_wish: bool = False  # an image's: where a namespace has one id, that is what there is
    directory: str = "/"
    directory_is_made: bool = False
    hostname: str = ""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    tty: bool = False
    stdin_open: bool = False
    stop_signal: str = "SIGTERM"
    stop_timeout_s: int = 10
    healthcheck: Health | None = None
    # How it is kept apart.
    network: str = "host"
    ports: tuple[PublishedPort, ...] = ()
    mounts: tuple[ContainerMount, ...] = ()
    read_only: bool = False
    privileged: bool = False
    new_privileges: bool = False  # whether set-user-ID programs give any
    seccomp: str = ""  # a profile's text, or `unconfined`; empty: docker's
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()  # HOST:PLACE
    groups: tuple[str, ...] = ()  # names or numbers, besides the user's own
    exposed: tuple[str, ...] = ()  # PORT/PROTOCOL, the image's too
    ipc: str = "private"  # or `none`: without /dev/shm; or `host`
    uts: str = "private"  # or `host`
    cgroupns: str = "host"  # or `private`
    sysctls: tuple[str, ...] = ()  # NAME=VALUE
    oom_score: int = 0
    extra_hosts: tuple[str, ...] = ()  # NAME:ADDRESS
    aliases: tuple[str, ...] = ()  # names more that it has for itself in /etc/hosts
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()  # domains; `.` alone: none
    dns_options: tuple[str, ...] = ()
    ulimits: tuple[str, ...] = ()  # NAME=SOFT[:HARD]
    memory_bytes: int = 0  # 0: unlimited
    memory_swap_bytes: int = 0  # of memory and swap; 0: twice the memory, -1: unlimited
    nano_cpus: int = 0
    pids: int = 0
    shm_bytes: int = 64 << 20
    upper_bytes: int = 0  # what its upper may hold; 0: unlimited
    init: bool = False
    runtime: str = ""  # an OCI runtime's name; empty: ours
    driver: str = "auto"
    trace: str = ""  # a file of the host's: what it has used of its image is written there
    log_driver: str = "json-file"  # or `none`: its output is not kept
    annotations: dict[str, str] = msgspec.field(default_factory=dict)  # for an OCI runtime
    # What becomes of it.
    restart: str = "no"
    auto_remove: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The whole command."""
        return (*self.entrypoint, *self.command)


class Containers:
    """The one door to a store's containers; every call is atomic to all others."""

    def __init__(self, places: Places, lock: StoreLock) -> None:
        self._places = places
        self._lock = lock

    def create(self, record: ContainerRecord) -> Path:
        """Make a container; returns its directory.

        Raises:
            InUse: another container has its name.
            NotInStore: its image or one of its layers has gone.
        """
        with self._lock.exclusive():
            for diff_id in record.diff_ids:
                layers.require_usable(self._places, Digest(diff_id))
            return create(self._places, record)

    def all(self) -> list[ContainerRecord]:
        """All containers, the newest first."""
        with self._lock.shared():
            return list(all_records(self._places))

    def get(self, text: str) -> ContainerRecord:
        """Return the container that a person means; raises as `resolve`."""
        with self._lock.shared():
            return resolve(self._places, text)

    def replace(self, record: ContainerRecord) -> None:
        """Let a container have another record; raises as `create`."""
        with self._lock.exclusive():
            replace(self._places, record)

    def directory(self, ident: str) -> Path:
        """Where a container's files are."""
        return self._places.container(ident)

    def use_layers(self, record: ContainerRecord) -> LayersInUse:
        """Keep the image's layers for as long as a process uses them.

        Raises:
            NotInStore: one has gone.
        """
        with self._lock.shared():
            diff_ids = [Digest(diff_id) for diff_id in record.diff_ids]
            return layers.use(self._places, diff_ids, None)

    def is_running(self, record: ContainerRecord) -> bool:
        """Whether a monitor looks after a container, or is cleaning up after it."""
        return is_running(self._places, record.id)

    def wait_until_free(self, record: ContainerRecord) -> None:
        """Wait until no monitor looks after a container, and what it mounted is gone."""
        with suppress(FileNotFoundError):  # so is the container
            locks.wait_for(self._places.container(record.id) / LOCK)

    def remove(self, record: ContainerRecord) -> None:
        """Remove a container with all that it wrote, and that no branch of it needs.

        Raises:
            InUse: it runs.
        """
        with suppress(FileNotFoundError):  # nobody has ever looked at it
            locks.wait_for(self._places.container(record.id) / VISITORS)
        with self._lock.exclusive():
            gone = [take_away(self._places, record)]
            with suppress(CorruptStore):  # of another, which may need anything: `fsck` says so
                gone += stacks.take_away_unneeded(self._places)
        for path in gone:
            leases.discard(path)

    # Their stacks.

    def stack(self, record: ContainerRecord) -> Stack:
        """What a container has above its image."""
        return stacks.read(self.directory(record.id))

    def placed(self, record: ContainerRecord) -> Placed:
        """Where the parts of its stack are at the moment."""
        directory = self.directory(record.id)
        return stacks.placed(self._places, directory, stacks.read(directory))

    def settle(self, record: ContainerRecord, stack: Stack) -> Path | None:
        """Bring the parts to their places; see `stacks.settle`."""
        return stacks.settle(self._places, self.directory(record.id), stack)

    def layer(self, name: str) -> Path:
        """Where an upper of before is, once it is in its place."""
        return self._places.snapshot(name)

    def branch(self, record: ContainerRecord, of: ContainerRecord, stack: Stack) -> None:
        """Make a container that begins where another one is, or was.

        Raises:
            InUse: another container has its name.
            CorruptStore: a layer has gone.
        """
        with self._lock.exclusive():
            if not stack.needed <= self.stack(of).needed:
                raise InUse(of.name, "its snapshots have changed meanwhile")
            stacks.require_whole(self._places, stack)
            create(self._places, record, stack)

    @property
    def have_files(self) -> bool:
        """Whether the store has files of containers' users: theirs, of volumes, of snapshots."""
        places = (self._places.containers, self._places.volumes)
        return self.has_snapshots or any(
            place.exists() and any(place.iterdir()) for place in places
        )

    @property
    def has_snapshots(self) -> bool:
        """Whether any container has, or had."""
        return bool(stacks.all_layers(self._places))

    def collect_snapshots(self) -> int:
        """Remove what no container has any more; returns how many bytes that gives back."""
        with self._lock.exclusive():
            gone = stacks.take_away_unneeded(self._places)
        freed = 0
        for path in gone:
            freed += layers.size_on_disk(path)
            leases.discard(path)
        return freed

    def held(self, record: ContainerRecord) -> locks.Lock | None:
        """Take the lock of a container that does not run; None where it does."""
        return locks.try_acquire(self.directory(record.id) / LOCK, locks.Mode.EXCLUSIVE)


def new_id() -> str:
    """An ID that no container has."""
    return durable.random_hex(32)


def create(places: Places, record: ContainerRecord, stack: Stack | None = None) -> Path:
    """Make a container's directory, with its records in it, at once; returns its path.

    Raises:
        InUse: another container has its name.
    """
    _require_free(places, record)
    staged = places.staging / f"new-{durable.random_hex(8)}"
    staged.mkdir(mode=0o700)
    try:
        durable.write_file(staged / RECORD, records.encode(record), staged)
        if stack is not None:
            stacks.write(staged, stack)
        places.containers.mkdir(mode=0o700, exist_ok=True)
        staged.rename(places.container(record.id))
    except BaseException:
        durable.remove(staged)
        raise
    durable.sync_directory(places.containers)
    return places.container(record.id)


def replace(places: Places, record: ContainerRecord) -> None:
    """Let a container that is there have another record, under another name for example.

    Raises:
        InUse: another container has that name.
    """
    _require_free(places, record)
    path = places.container(record.id) / RECORD
    durable.write_file(path, records.encode(record), places.staging)


def find(places: Places, ident: str) -> ContainerRecord | None:
    """Return the container of a whole ID, None if it is not there.

    Raises:
        CorruptStore: its record is damaged, or another container's.
    """
    path = places.container(ident) / RECORD
    record = records.read(path, ContainerRecord)
    if record is not None and record.id != ident:
        raise CorruptStore(str(path), f"the record of {record.id}")
    return record


def resolve(places: Places, text: str) -> ContainerRecord:
    """Return the container that a person means by a name, an ID, or the beginning of one.

    A whole ID comes first, then a name, as in docker.

    Raises:
        NotInStore: there is none.
        Ambiguous: several IDs begin so.
    """
    if _ID.fullmatch(text) and (found := find(places, text)) is not None:
        return found
    name = text.removeprefix("/")
    known = list(all_records(places))
    for record in known:
        if record.name == name:
            return record
    begin_so = [record for record in known if text and record.id.startswith(text)]
    if len(begin_so) > 1:
        raise Ambiguous(text, "several containers' IDs begin so")
    if not begin_so:
        raise NoSuchContainer(text)
    return begin_so[0]


def all_records(places: Places) -> Iterator[ContainerRecord]:
    """Yield all containers, the newest first.

    Raises:
        CorruptStore: a record is damaged.
    """
    found = (find(places, ident) for ident in _all_ids(places))
    known = [record for record in found if record is not None]
    yield from sorted(known, key=lambda record: (-record.created_ns, record.id))


def all_needed(places: Places) -> set[Kept]:
    """What the containers refer to, which must not be collected.

    Raises:
        CorruptStore: a record is damaged, so that nobody can tell.
    """
    needed: set[Kept] = set()
    for record in all_records(places):
        needed |= {Kept(Kind.BLOB, Digest(digest)) for digest in (record.image_id, record.manifest)}
        needed |= {Kept(Kind.LAYER, Digest(diff_id)) for diff_id in record.diff_ids}
    return needed


def using(places: Places, manifest: str) -> list[ContainerRecord]:
    """The containers of an image."""
    return [record for record in all_records(places) if record.manifest == manifest]


def is_running(places: Places, ident: str) -> bool:
    """Whether a monitor looks after the container."""
    return locks.is_held(places.container(ident) / LOCK)


def take_away(places: Places, record: ContainerRecord) -> Path:
    """Put a container out of sight, by one rename; returns what is left to be removed.

    Raises:
        InUse: it runs.
    """
    if is_running(places, record.id):
        raise InUse(record.name, "the container is running (stop it first, or use --force)")
    if locks.is_held(places.container(record.id) / VISITORS):
        raise InUse(record.name, "files are being copied from or to it")
    gone = places.staging / f"gone-{durable.random_hex(8)}"
    places.container(record.id).rename(gone)
    durable.sync_directory(places.containers)
    return gone


def _all_ids(places: Places) -> list[str]:
    try:
        names = [path.name for path in places.containers.iterdir()]
    except FileNotFoundError:  # a store in which none was ever made
        return []
    return sorted(name for name in names if _ID.fullmatch(name))


def _require_free(places: Places, record: ContainerRecord) -> None:
    for other in all_records(places):
        if other.name == record.name and other.id != record.id:
            raise InUse(
                record.name, f"container {other.id[:12]} has this name (remove or rename it)"
            )
