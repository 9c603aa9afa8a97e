"""Where there is no room, a change says so in one line and is none."""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.store.store import Store
from overlayfs_py.syscalls import mounts
from tests.store.changes import CHANGES, prepare
from tests.store.states import names, require_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_BLOCK = 4096


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=2m,nr_inodes=200")
    yield place
    mounts.umount(os.fsencode(place), mounts.MNT_DETACH)


def _fill_inodes(place: Path, free: int) -> None:
    """Use up all inodes but so many."""
    fillers = place / "fillers"
    fillers.mkdir()
    try:
        for number in itertools.count():
            (fillers / str(number)).touch()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    for path in list(fillers.iterdir())[:free]:
        path.unlink()


def _fill_blocks(place: Path, free: int) -> None:
    """Use up all room but so many blocks."""
    room = os.statvfs(place)
    wanted = max(0, room.f_bavail - free) * _BLOCK
    with (place / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, max(1, wanted))


def _empty(place: Path) -> None:
    (place / "filler").unlink(missing_ok=True)
    for path in [*place.glob("fillers/*")]:
        path.unlink()
    if (place / "fillers").exists():
        (place / "fillers").rmdir()


def _finds_no_room(change: Callable[[], object]) -> bool:
    try:
        change()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    return False


@pytest.mark.parametrize("fill", [_fill_inodes, _fill_blocks])
@pytest.mark.parametrize("change", CHANGES)
def test_a_change_without_room_is_none(
    small: Path, change: str, fill: Callable[[Path, int], None]
) -> None:
    store = Store.open(small / "store")
    prepare(store)
    before = names(store)
    for free in itertools.count():
        fill(small, free)
        failed = _finds_no_room(lambda: CHANGES[change](store))
        assert [str(problem) for problem in store.check()] == [], free
        shown = names(store)
        _empty(small)
        if not failed:
            break
        # A pull of two tags may have got to the first.
        assert before.items() <= shown.items() or change == "pull over a tag", free
        require_sound(store)

    require_sound(store)


@pytest.mark.parametrize("change", ["rmi", "rmi of a shared layer", "prune all"])
def test_what_frees_room_needs_none(small: Path, change: str) -> None:
    store = Store.open(small / "store")
    prepare(store)
    _fill_blocks(small, 0)

    CHANGES[change](store)

    require_sound(store)
