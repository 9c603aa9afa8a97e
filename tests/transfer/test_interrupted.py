"""Killed while it imports or loads, or out of room: the store is sound, and does it again."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.platform import Platform
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.store import Store
from overlayfs_py.syscalls import mounts
from overlayfs_py.transfer.archive import read_archive
from overlayfs_py.transfer.import_ import ImportOptions, import_directory
from overlayfs_py.transfer.load import load
from tests.store.killing import killed_after
from tests.store.states import files, require_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PLATFORM = Platform("linux", "amd64")
_OPTIONS = ImportOptions(_PLATFORM, 1_700_000_000_000_000_000, "root")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=4m")
    yield place
    mounts.umount(os.fsencode(place), mounts.MNT_DETACH)


@pytest.fixture(params=["import", "load"])
def change(
    request: pytest.FixtureRequest, tmp_path: Path, archives: dict[str, Path]
) -> Callable[[Store], object]:
    if request.param == "import":
        (tmp_path / "root/etc").mkdir(parents=True)
        (tmp_path / "root/etc/random").write_bytes(os.urandom(300_000))
        source = os.fsencode(tmp_path / "root")
        return lambda store: import_directory(store, source, _OPTIONS, [parse_reference("x:1")])

    def load_both(store: Store) -> None:
        with archives["both"].open("rb") as file:
            load(store, read_archive(file), _PLATFORM, "both")

    return load_both


def test_a_kill_leaves_a_sound_store(small: Path, change: Callable[[Store], object]) -> None:
    whole = Store.open(small / "whole")
    change(whole)
    for calls in itertools.count(1, 3):  # all single steps of a store are in tests/store
        root = small / str(calls)
        killed = killed_after(calls, root, change)
        store = Store.open(root)
        assert [str(problem) for problem in store.check()] == [], calls
        change(store)
        require_sound(store)
        assert files(store) == files(whole)
        if not killed:
            break
        shutil.rmtree(root)
    assert calls > 30


def test_a_full_disk_leaves_what_was_there(small: Path, change: Callable[[Store], object]) -> None:
    store = Store.open(small / "store")
    failed = 0
    for free_kb in range(0, 1200, 48):
        _fill(small, free_kb << 10)
        failed += _finds_no_room(change, store)
        (small / "filler").unlink()
        require_sound(store)
    assert failed > 0
    change(store)
    require_sound(store)


def _finds_no_room(change: Callable[[Store], object], store: Store) -> bool:
    try:
        change(store)
    except OSError as error:
        if error.errno != errno.ENOSPC or not error.filename:
            raise
        return True
    return False


def _fill(place: Path, free_bytes: int) -> None:
    room = os.statvfs(place)
    wanted = room.f_bavail * room.f_frsize - free_bytes
    with (place / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, max(1, wanted))
