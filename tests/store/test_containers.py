from __future__ import annotations

import fcntl
import os
import time
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from overlayfs_py.store.containers import (
    LOCK,
    RECORD,
    ContainerMount,
    ContainerRecord,
    MountKind,
    new_id,
)
from overlayfs_py.store.failures import Ambiguous, CorruptStore, InUse, NotInStore
from overlayfs_py.store.store import Store
from tests.store.samples import add_image, diff_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.images import StoredImage


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def image(store: Store) -> StoredImage:
    return add_image(store, ["base", "top"], "debian:12")


def record_of(image: StoredImage, name: str, **other: object) -> ContainerRecord:
    record = ContainerRecord(
        id=new_id(),
        name=name,
        created_ns=time.time_ns(),
        image="debian:12",
        image_id=image.image_id,
        manifest=image.manifest.digest,
        diff_ids=tuple(image.config.diff_ids),
    )
    return structs.replace(record, **other)


@pytest.fixture
def running(store: Store, image: StoredImage) -> Iterator[ContainerRecord]:
    record = record_of(image, "runs")
    directory = store.containers.create(record)
    fd = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_EX)
    yield record
    os.close(fd)


def test_a_container_is_found_by_name_id_and_the_beginning_of_its_id(
    store: Store, image: StoredImage
) -> None:
    record = record_of(image, "one")

    directory = store.containers.create(record)

    assert directory.stat().st_mode & 0o777 == 0o700
    for text in ("one", "/one", record.id, record.id[:12]):
        assert store.containers.get(text) == record
    with pytest.raises(NotInStore, match=r"^two: no such container$"):
        store.containers.get("two")
    with pytest.raises(NotInStore):
        store.containers.get("")


def test_a_beginning_that_several_ids_have_is_refused(store: Store, image: StoredImage) -> None:
    for at in range(17):
        store.containers.create(record_of(image, f"c{at}", id=f"{at % 16:x}{new_id()[1:]}"))

    with pytest.raises(Ambiguous):
        store.containers.get("0")


def test_two_containers_cannot_have_one_name(store: Store, image: StoredImage) -> None:
    first, second = record_of(image, "one"), record_of(image, "two")
    store.containers.create(first)
    store.containers.create(second)

    with pytest.raises(InUse, match=f"one: container {first.id[:12]} has this name"):
        store.containers.create(record_of(image, "one"))
    with pytest.raises(InUse):
        store.containers.replace(structs.replace(second, name="one"))
    store.containers.replace(structs.replace(second, name="three"))

    assert [record.name for record in store.containers.all()] == ["three", "one"]


def test_a_container_that_runs_is_not_removed(store: Store, running: ContainerRecord) -> None:
    with pytest.raises(InUse, match="running"):
        store.containers.remove(running)

    assert store.containers.get("runs") == running


def test_a_removed_container_leaves_nothing(store: Store, image: StoredImage) -> None:
    record = record_of(image, "one")
    directory = store.containers.create(record)
    (directory / "upper").mkdir()
    (directory / "upper/file").write_text("x")

    store.containers.remove(record)

    assert store.containers.all() == []
    assert list((store.root / "staging").iterdir()) == []


def test_a_container_keeps_its_image(store: Store, image: StoredImage) -> None:
    record = record_of(image, "one")
    store.containers.create(record)

    with pytest.raises(InUse, match=f"container {record.id[:12]}"):
        store.remove_image("debian:12")
    assert store.prune(tagged=True).deleted == ()
    store.remove_image("debian:12", force=True)
    store.collect()

    with store.containers.use_layers(record) as layers:
        assert [layer.diff_id for layer in layers.layers] == [diff_id("base"), diff_id("top")]
    assert [str(problem) for problem in store.check()] == []
    store.containers.remove(record)
    store.collect()
    with pytest.raises(NotInStore):
        store.containers.create(record)
    assert list((store.root / "layers").iterdir()) == []


def test_nothing_is_collected_where_a_record_is_damaged(store: Store, image: StoredImage) -> None:
    record = record_of(image, "one")
    directory = store.containers.create(record)
    store.remove_image("debian:12", force=True)
    (directory / RECORD).write_text("{")

    store.collect()

    with pytest.raises(CorruptStore):
        store.containers.get("one")
    assert len(list((store.root / "layers").iterdir())) == 2


def test_volumes_are_made_once_and_kept_for_their_containers(
    store: Store, image: StoredImage
) -> None:
    volume = store.volumes.create("data", labels={"a": "b"})
    (store.volumes.data("data") / "file").write_text("x")
    mount = ContainerMount(kind=MountKind.VOLUME, source="data", target="/data")
    record = record_of(image, "one", mounts=(mount,))
    store.containers.create(record)

    assert store.volumes.create("data") == volume
    assert store.volumes.users("data") == [record.id]
    with pytest.raises(InUse, match=f"data: volume is in use by container {record.id[:12]}"):
        store.volumes.remove("data")
    store.containers.remove(record)
    store.volumes.remove("data")

    assert store.volumes.all() == []
    with pytest.raises(NotInStore, match=r"^data: no such volume$"):
        store.volumes.remove("data")


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "-x", "x\n"])
def test_a_volume_name_leads_nowhere_else(store: Store, name: str) -> None:
    with pytest.raises(NotInStore):
        store.volumes.get(name)
