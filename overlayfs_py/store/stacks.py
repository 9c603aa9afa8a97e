"""What a container has above its image's layers: uppers of before, and snapshots of it.

`containers/ID/stack.json` says it, and is replaced whole: that is the moment at which a container
goes over to another stack. Directories are brought to their places after that, and whoever comes
upon one that is not yet there knows by the record where it is. Only the one that holds the
container's lock changes anything.

An upper of before is `snapshots/NAME`, and belongs to every container whose record has it.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.errors import Failure
from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.store import durable, records
from overlayfs_py.store.failures import CorruptStore, NoSuchSnapshot
from overlayfs_py.store.records import Record

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.places import Places

FILE = "stack.json"
TAG = late_pattern(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
_NEXT = "next-"
_GONE = "gone-"
_UPPER, _WORK = "upper", "work"
_NAME = late_pattern("[0-9a-f]{32}")


class Snapshot(Record, frozen=True, kw_only=True):
    """What a container can go back to."""

    tag: str
    created_ns: int
    layers: tuple[str, ...]  # the uppers of before that it consists of, topmost first


class Stack(Record, frozen=True, kw_only=True):
    """`containers/ID/stack.json`. One that is not there is an empty one."""

    layers: tuple[str, ...] = ()  # between the upper and the image, topmost first
    snapshots: tuple[Snapshot, ...] = ()  # oldest first
    # The directory of the container's in which its upper lies until it is in its place; and what
    # the upper that is in that place is to be, if anything.
    coming: str = ""
    turned: str = ""

    @property
    def needed(self) -> set[str]:
        """Every upper of before that may be asked for."""
        return {*self.layers, *(name for each in self.snapshots for name in each.layers)}

    def snapshot(self, container: str, tag: str) -> Snapshot:
        """Return a snapshot.

        Raises:
            NoSuchSnapshot: there is none of that tag.
        """
        for each in self.snapshots:
            if each.tag == tag:
                return each
        raise NoSuchSnapshot(container, tag)

    def require_free(self, container: str, tag: str) -> None:
        """Refuse a tag that a snapshot has, and what is none."""
        if TAG.fullmatch(tag) is None:
            raise Failure(f"{tag}: a tag is letters, digits, dots, dashes and underscores")
        if any(each.tag == tag for each in self.snapshots):
            raise Failure(f"{container}: {tag}: a snapshot has this tag (remove it first)")

    def with_snapshot(self, tag: str) -> Stack:
        """The same, and what it consists of under a tag."""
        made = Snapshot(tag=tag, created_ns=time.time_ns(), layers=self.layers)
        return structs.replace(self, snapshots=(*self.snapshots, made))

    def without(self, container: str, tag: str) -> Stack:
        """The same without a snapshot, whose parts go with the next collection.

        Raises:
            NoSuchSnapshot: there is none of that tag.
        """
        gone = self.snapshot(container, tag)
        return structs.replace(
            self, snapshots=tuple(each for each in self.snapshots if each is not gone)
        )


class Placed(NamedTuple):
    """Where the parts of a container's stack are at the moment."""

    upper: Path  # not there where the container was never started
    layers: tuple[Path, ...]  # topmost first


def read(directory: Path) -> Stack:
    """Return the stack of the container in a directory.

    Raises:
        CorruptStore: its record is damaged.
    """
    return records.read(directory / FILE, Stack) or Stack()


def write(directory: Path, stack: Stack) -> None:
    """Let a container have a stack."""
    durable.write_file(directory / FILE, records.encode(stack), directory)


def next_tag(stack: Stack) -> str:
    """The next number that no snapshot has for its tag."""
    numbers = [int(each.tag) for each in stack.snapshots if each.tag.isdigit()]
    return str(max(numbers, default=0) + 1)


def new_layer() -> str:
    """A name that no upper of before has."""
    return durable.random_hex(16)


def new_coming() -> str:
    """A name for a directory in which an upper is made ready."""
    return _NEXT + durable.random_hex(4)


def placed(places: Places, directory: Path, stack: Stack) -> Placed:
    """Where everything is, moved to its place or not."""
    if not _is_coming(directory, stack):
        return Placed(directory / _UPPER, tuple(map(places.snapshot, stack.layers)))
    paths = [places.snapshot(name) for name in stack.layers]
    if stack.turned and not places.snapshot(stack.turned).exists():
        paths[stack.layers.index(stack.turned)] = directory / _UPPER
    return Placed(directory / stack.coming / _UPPER, tuple(paths))


def _is_coming(directory: Path, stack: Stack) -> bool:
    return bool(stack.coming) and (directory / stack.coming / _UPPER).exists()


def settle(places: Places, directory: Path, stack: Stack) -> Path | None:
    """Bring everything to its place; returns what is left to be removed.

    May be called again after a kill in the middle.
    """
    coming = directory / stack.coming
    if not stack.coming or not coming.exists():
        return None
    if _is_coming(directory, stack):
        before = directory / _UPPER
        if not stack.turned:
            _move(before, coming / f"{_GONE}{_UPPER}")
        elif not places.snapshot(stack.turned).exists():
            places.snapshots.mkdir(mode=0o700, exist_ok=True)
            _move(before, places.snapshot(stack.turned))
        (coming / _UPPER).rename(before)
    if (coming / _WORK).exists():
        _move(directory / _WORK, coming / f"{_GONE}{_WORK}")
        (coming / _WORK).rename(directory / _WORK)
    gone = directory / f"{_GONE}{durable.random_hex(4)}"
    coming.rename(gone)
    return gone


def _move(path: Path, target: Path) -> None:
    with suppress(FileNotFoundError):  # a container that was never started has none
        path.rename(target)


def tidy(directory: Path, stack: Stack) -> None:
    """Remove what changes that were broken off have left; everything is in its place."""
    for path in directory.iterdir():
        is_left = path.name.startswith((_NEXT, _GONE)) or path.name.endswith(durable.TEMPORARY)
        if is_left and path.name != stack.coming:
            durable.remove(path)


# Of the whole store.


def all_layers(places: Places) -> list[str]:
    """Every upper of before that there is."""
    try:
        names = [path.name for path in places.snapshots.iterdir()]
    except FileNotFoundError:  # a store in which none was ever made
        return []
    return sorted(name for name in names if is_layer(name))


def is_layer(name: str) -> bool:
    """Whether a file's name is that of an upper of before."""
    return _NAME.fullmatch(name) is not None


def all_needed(places: Places) -> set[str]:
    """What the containers have. The store's lock must be held.

    Raises:
        CorruptStore: a record is damaged, so that nobody can tell.
    """
    try:
        directories = list(places.containers.iterdir())
    except FileNotFoundError:
        return set()
    return set().union(*(read(directory).needed for directory in directories))


def missing(places: Places, directory: Path, stack: Stack) -> set[str]:
    """What of the stack of the container in a directory has gone."""
    known = stack.needed - ({stack.turned} if _is_coming(directory, stack) else set())
    return {name for name in known if not places.snapshot(name).is_dir()}


def require_whole(places: Places, stack: Stack) -> None:
    """Refuse a stack of which something has gone. The store's lock must be held."""
    for path in map(places.snapshot, sorted(stack.needed)):
        if not path.is_dir():
            raise CorruptStore(str(path), "a container's layer is missing")


def take_away_unneeded(places: Places) -> list[Path]:
    """Put what no container has out of sight; returns what is left to be removed.

    The store's lock must be held exclusively. What is there is in a record already.
    """
    known = all_layers(places)
    if not known:
        return []
    needed = all_needed(places)
    gone = []
    for name in known:
        if name not in needed:
            gone.append(places.staging / f"gone-{durable.random_hex(8)}")
            places.snapshot(name).rename(gone[-1])
    return gone
