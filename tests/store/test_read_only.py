"""A store on a read-only filesystem is looked at and used; who writes to it elsewhere knows."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.store import Store
from overlayfs_py.syscalls import mounts
from tests.store.samples import add_image, diff_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def read_only(store: Store, tmp_path: Path) -> Iterator[Store]:
    """The same store by a mount that cannot be written to."""
    add_image(store, ["base", "app"], "app:1")
    target = tmp_path / "read-only"
    target.mkdir()
    source, place = os.fsencode(store.root.parent), os.fsencode(target)
    mounts.mount(source, place, b"", mounts.MS_BIND)
    mounts.mount(b"", place, b"", mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY)
    yield Store.open(target / store.root.name)
    mounts.umount(place, mounts.MNT_DETACH)


def test_it_is_looked_at(store: Store, read_only: Store) -> None:
    (image,) = read_only.images()
    assert image == read_only.image("app:1")
    assert image.image_id == store.image("app:1").image_id


def test_it_is_checked_and_measured(read_only: Store) -> None:
    assert list(read_only.check(deep=True)) == []
    assert read_only.usage().layers.count == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.remove_image("app:1"),
        lambda store: store.tag("app:1", parse_reference("app:2")),
        lambda store: store.add(),
    ],
)
def test_it_is_not_changed(read_only: Store, change) -> None:
    with pytest.raises(OSError, match="Read-only file system") as refused:
        change(read_only)

    assert refused.value.errno == errno.EROFS


def test_what_is_used_of_it_is_not_deleted_by_who_can(store: Store, read_only: Store) -> None:
    _, layers = read_only.use_image("app:1")
    with layers:
        store.remove_image("app:1")
        store.collect()
        assert all(os.path.exists(path) for path in layers.lower)

    store.collect()

    assert store.find_layer(diff_id("app")) is None
