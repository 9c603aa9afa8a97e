"""Snapshots of a container, running or not: taken, gone back to, branched from, removed.

The monitor of one that runs does it, since it holds the container's lock and the door of its mount.
Of one that does not run it is done here, under the same lock: taking one opens the union without a
mount, for what a layer must say by itself.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from msgspec import structs

from overlayfs_py.containers import creation, keep_directory, life, user_namespace
from overlayfs_py.containers.launch import Launch
from overlayfs_py.containers.state import NotRunning
from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.store import containers, durable, locks, stacks
from overlayfs_py.store.containers import MountKind
from overlayfs_py.store.layers import size_on_disk
from overlayfs_py.store.stacks import Stack

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.containers.keep_directory import UpperPlace
    from overlayfs_py.mounts.children import Report
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.stacks import Snapshot
    from overlayfs_py.store.store import Store

Result = TypeVar("Result")

_PATIENCE_S = 10.0  # with a container that is being started, or ends
_LOOK_AGAIN_S = 0.01


class Held(NamedTuple):
    """A snapshot, and what it holds."""

    snapshot: Snapshot
    own_bytes: int  # on the disk: what was changed since the one below
    all_bytes: int  # with those below, down to the image


def snapshot(store: Store, record: ContainerRecord, tag: str | None = None) -> str:
    """Keep a container's files as they are now; returns the tag, the next number without one.

    Raises:
        Failure: it is no tag, a snapshot has it, or it cannot be done.
    """
    chosen = tag or stacks.next_tag(store.containers.stack(record))
    _take(store, record, chosen)
    return chosen


def restore(store: Store, record: ContainerRecord, tag: str) -> None:
    """Have a container's files be those of a snapshot again. Its other snapshots stay.

    Raises:
        NoSuchSnapshot: there is none of that tag.
        Failure: it cannot be done.
    """
    store.containers.stack(record).snapshot(record.name, tag)
    _running_or_not(
        store,
        record,
        lambda: life.ask(store, record, {"do": "restore", "tag": tag}),
        lambda: _Stopped(store, record).restore(tag),
    )
    collect(store)


def branch(
    store: Store, record: ContainerRecord, name: str, tag: str | None = None
) -> ContainerRecord:
    """Make a container whose files are those that another one has now, or in a snapshot.

    It has those of the other's snapshots that lie below. Named volumes are shared; it has anonymous
    ones of its own, as new containers have.

    Raises:
        NoSuchSnapshot: there is none of that tag.
        Failure: another container has the name, or it cannot be done.
    """
    creation.require_name(name)
    if any(other.name == name for other in store.containers.all()):
        raise Failure(f"{name}: a container has this name (remove or rename it)")
    if tag is not None:
        layers = store.containers.stack(record).snapshot(record.name, tag).layers
    else:
        layers = _take(store, record, None)
    below = store.containers.stack(record).snapshots
    stack = Stack(
        layers=layers,
        snapshots=tuple(each for each in below if _lies_below(each.layers, layers)),
    )
    made = _like(store, record, name)
    try:
        store.containers.branch(made, record, stack)
    except BaseException:
        _remove_volumes(store, made)
        raise
    return made


def remove(store: Store, record: ContainerRecord, tag: str) -> int:
    """Remove a snapshot; returns how many bytes that gives back.

    What the container itself, another snapshot or a branch is made of stays.

    Raises:
        NoSuchSnapshot: there is none of that tag.
    """
    store.containers.stack(record).snapshot(record.name, tag)
    _running_or_not(
        store,
        record,
        lambda: life.ask(store, record, {"do": "forget", "tag": tag}),
        lambda: _Stopped(store, record).forget(tag),
    )
    return collect(store)


def listed(store: Store, record: ContainerRecord) -> list[Held]:
    """The snapshots of a container, the oldest first."""
    stack = store.containers.stack(record)
    sizes = {name: _size(store, record, name) for name in sorted(stack.needed)}
    return [
        Held(each, sizes[each.layers[0]] if each.layers else 0, sum(sizes[n] for n in each.layers))
        for each in stack.snapshots
    ]


def held_bytes(store: Store, record: ContainerRecord) -> dict[str, int]:
    """What a container's files take on the disk: its upper, under `upper`, and uppers of before."""
    upper = store.containers.directory(record.id) / "upper"
    own = int(_in_its_namespace(lambda: size_on_disk(upper) if upper.exists() else 0) or 0)
    needed = sorted(store.containers.stack(record).needed)
    return {"upper": own, **{name: _size(store, record, name) for name in needed}}


def _take(store: Store, record: ContainerRecord, tag: str | None) -> tuple[str, ...]:
    """Make the upper a layer; returns the layers down to the image."""
    return _running_or_not(
        store,
        record,
        lambda: _layers_in(life.ask(store, record, {"do": "snapshot", "tag": tag})),
        lambda: _Stopped(store, record).snapshot(tag),
    )


def _layers_in(answer: dict[str, object]) -> tuple[str, ...]:
    found = answer["layers"]
    assert isinstance(found, list)
    return tuple(found)


def _lies_below(layers: tuple[str, ...], others: tuple[str, ...]) -> bool:
    return others[len(others) - len(layers) :] == layers if layers else True


def _like(store: Store, record: ContainerRecord, name: str) -> ContainerRecord:
    """The record of a container that is like another one."""
    ident = containers.new_id()
    own = record.hostname == record.id[:12]
    mounts = (
        creation.with_volume(store, structs.replace(mount, source=""))
        if mount.kind is MountKind.VOLUME and mount.anonymous
        else mount
        for mount in record.mounts
    )
    return structs.replace(
        record,
        id=ident,
        name=name,
        created_ns=time.time_ns(),
        hostname=ident[:12] if own else record.hostname,
        mounts=tuple(mounts),
        auto_remove=False,
    )


def _remove_volumes(store: Store, record: ContainerRecord) -> None:
    for mount in record.mounts:
        if mount.kind is MountKind.VOLUME and mount.anonymous:
            store.volumes.remove(mount.source)


def _running_or_not(
    store: Store,
    record: ContainerRecord,
    ask: Callable[[], Result],
    do_here: Callable[[], Result],
) -> Result:
    """Have it done where the container's lock is held, by its monitor or by us."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except NotRunning:
            held = store.containers.held(record)
        if held is not None:
            # In the order of a monitor: `visit` may have the container's files mounted.
            visitors = store.containers.directory(record.id) / containers.VISITORS
            with held, locks.acquire(visitors, locks.Mode.EXCLUSIVE):
                return do_here()
        if time.monotonic() >= deadline:
            raise Failure(f"{record.name}: the container is being started or stopped")
        time.sleep(_LOOK_AGAIN_S)


class _Stopped:
    """A container whose lock is held here."""

    def __init__(self, store: Store, record: ContainerRecord) -> None:
        self._store = store
        self._record = record
        self._directory = store.containers.directory(record.id)

    def snapshot(self, tag: str | None) -> tuple[str, ...]:
        _in_its_namespace(lambda: self._snapshot(tag))
        return self._store.containers.stack(self._record).layers

    def restore(self, tag: str) -> None:
        _in_its_namespace(lambda: self._restore(tag))

    def forget(self, tag: str) -> None:
        stack = self._store.containers.stack(self._record)
        stacks.write(self._directory, stack.without(self._record.name, tag))

    def _snapshot(self, tag: str | None) -> None:
        stack = self._settled()
        if tag is not None:
            stack.require_free(self._record.name, tag)
        if not (self._directory / "upper").is_dir():  # it was never started
            if tag is not None:
                stacks.write(self._directory, stack.with_snapshot(tag))
            return
        name = stacks.new_layer()
        layers = (name, *stack.layers)
        after = structs.replace(stack, layers=layers, turned=name, coming=stacks.new_coming())
        with self._store.containers.use_layers(self._record) as image:
            kept = self._paths(stack)
            place = self._lay_out(after, os.fsencode(self._directory / "upper"))
            self._turn(image.lower, kept, place, name)
        self._go_over(after if tag is None else after.with_snapshot(tag))

    def _turn(
        self, image: tuple[bytes, ...], kept: list[bytes], place: UpperPlace, name: str
    ) -> None:
        from overlayfs_py.union.core import Union

        store, home = self._store, os.fsencode(self._directory)
        launch = Launch(self._record, self._directory, image, store.containers, store.volumes)
        now = keep_directory.lay_out(home, like=place.upper)
        with Union(launch.stack(now, kept, ())._replace(volumes=())) as union:
            union.snapshot(place.upper, place.work, os.fsencode(name))

    def _restore(self, tag: str) -> None:
        stack = self._settled()
        found = stack.snapshot(self._record.name, tag)
        after = structs.replace(stack, layers=found.layers, turned="", coming=stacks.new_coming())
        with self._store.containers.use_layers(self._record) as image:
            self._lay_out(after, (*self._paths(after), *image.lower)[0])
        self._go_over(after)

    def _settled(self) -> Stack:
        stack = self._store.containers.stack(self._record)
        self._store.containers.settle(self._record, stack)
        stacks.tidy(self._directory, stack)
        return stack

    def _lay_out(self, after: Stack, like: bytes) -> UpperPlace:
        return keep_directory.lay_out(os.fsencode(self._directory / after.coming), like=like)

    def _go_over(self, after: Stack) -> None:
        stacks.write(self._directory, after)
        gone = self._store.containers.settle(self._record, after)
        if gone is not None:
            durable.remove(gone)

    def _paths(self, stack: Stack) -> list[bytes]:
        return [os.fsencode(self._store.containers.layer(name)) for name in stack.layers]


def _size(store: Store, record: ContainerRecord, name: str) -> int:
    stack = store.containers.stack(record)
    path = store.containers.layer(name)
    if name == stack.turned and not path.exists():
        path = store.containers.directory(record.id) / "upper"
    return int(_in_its_namespace(lambda: size_on_disk(path)) or 0)


def collect(store: Store) -> int:
    """Remove what no container has any more; returns how many bytes that gives back."""
    return int(_in_its_namespace(store.containers.collect_snapshots) or 0)


def _in_its_namespace(work: Callable[[], int | None]) -> int | None:
    """Do it where files of a container's users can be looked at, and removed."""
    if user_namespace.may_mount():
        return work()

    def there(report: Report) -> None:
        user_namespace.enter()
        report.ready(b"%d" % (work() or 0))

    child = children.start(there)
    found = int(child.ready())
    child.wait()
    return found
