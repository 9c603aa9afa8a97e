"""A change that finds no room fails with ENOSPC, and what was there is there."""

from __future__ import annotations

import errno
import itertools
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import mounts
from tests.support.trees import Dir, File, HardLink, build
from tests.union.changes import CHANGES, LOWER, UPPER
from tests.union.invariants import check_invariants
from tests.union.refusal import refused
from tests.union.view import view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.snapshot import Snapshot
    from tests.union.conftest import MakeWorld
    from tests.union.world import World


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A filesystem with few inodes."""
    place = tmp_path / "small"
    place.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(place), b"tmpfs", 0, b"size=4m,nr_inodes=120")
    yield place
    mounts.umount(os.fsencode(place), mounts.MNT_DETACH)


def _fill(place: Path, *, free: int) -> list[Path]:
    """Use up all inodes but so many."""
    used: list[Path] = []
    try:
        for number in itertools.count():
            path = place / f"filler{number}"
            path.touch()
            used.append(path)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    for path in used[:free]:
        path.unlink()
    return used[free:]


def _finds_no_room(world: World, change: str) -> bool:
    try:
        CHANGES[change](world)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return True
    return False


def _looks(world: World, change: str) -> Snapshot:
    # Names become links of a copy one by one; where that fails for one, it is tried again later.
    left_out = {"nlink": None} if change == "write a hard link" else {}
    return {path: replace(entry, **left_out) for path, entry in view(world).items()}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_without_room_is_no_change(
    make_world: MakeWorld, tmp_path: Path, small: Path, change: str
) -> None:
    build(tmp_path / "layer", {"": Dir()} | LOWER)
    plain = make_world(tmp_path / "layer", upper=UPPER)
    CHANGES[change](plain)
    expected = _looks(plain, change)
    build(small / "upper", {"": Dir()} | UPPER)
    world = make_world(tmp_path / "layer", upper=small / "upper")
    before = _looks(world, change)

    for free in range(20):
        fillers = _fill(small, free=free)
        failed = _finds_no_room(world, change)
        shown = _looks(world, change)
        for path in fillers:
            path.unlink()
        assert shown == (before if failed else expected), free
        check_invariants(world)
        if not failed:
            break

    assert _looks(world, change) == expected
    world.reopen()
    assert {path: entry.content for path, entry in view(world).items()} == {
        path: entry.content for path, entry in expected.items()
    }
    world.close()


def test_what_a_write_has_room_for_is_written(
    make_world: MakeWorld, tmp_path: Path, small: Path
) -> None:
    """As on a disk: the count says so, and only the next write fails."""
    (tmp_path / "layer").mkdir()
    (small / "upper").mkdir()
    world = make_world(tmp_path / "layer", upper=small / "upper")
    node = world.put("file")
    (small / "filler").write_bytes(bytes(3 << 20))

    written = world.union.write(node, 0, b"x" * (2 << 20))
    with refused(errno.ENOSPC):
        world.union.write(node, written, b"x")

    assert 0 < written < 2 << 20
    assert world.stat("file").size == written
    assert world.union.read(node, 0, 4 << 20) == b"x" * written
    world.close()


def test_another_name_of_a_copy_needs_no_room(make_world: MakeWorld, small: Path) -> None:
    """Looking it up writes nothing."""
    (small / "upper").mkdir()
    world = make_world({"a": File(b"data"), "b": HardLink("a")}, upper=small / "upper")
    world.write("a", b"DATA")
    world.forget()
    _fill(small, free=0)

    assert world.at("b") is world.at("a")
    assert world.read("b") == b"DATA"
    assert not (small / "upper" / "b").exists()
    world.close()
