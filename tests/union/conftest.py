"""`make_world`: unions over tables; each is checked and closed when its test is over."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

import pytest

pytest.register_assert_rewrite("tests.union.invariants", "tests.union.view", "tests.union.world")

from overlayfs_py.union.remove_tree import remove_tree  # noqa: E402 - after the above
from tests.union.invariants import check_forgotten, check_invariants  # noqa: E402 - after the above
from tests.union.world import World  # noqa: E402 - after the above

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class MakeWorld(Protocol):
    """Open a world; the arguments are World's."""

    def __call__(self, *lowers: object, **options: object) -> World: ...


def open_files() -> dict[str, str]:
    """Every descriptor of this process, and what it is of."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that listed the directory
            continue
    return found


@pytest.fixture(autouse=True)
def no_union_stays_open() -> Iterator[None]:
    """The umask is 0 while one is open: other tests' files would have other modes."""
    before = umask()
    yield
    assert umask() == before


def umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    worlds: list[World] = []
    before = open_files()

    def make(*lowers: object, **options: object) -> World:
        made = World(tmp_path / f"world{len(worlds)}", *lowers, **options)
        worlds.append(made)
        return made

    yield make
    try:
        for world in worlds:
            if world.is_open:
                check_invariants(world)
                check_forgotten(world)
    finally:
        for world in reversed(worlds):  # each puts back the umask that it found
            world.close()
    for world in worlds:
        world.require_untouched_layers()
    assert open_files() == before
    # pytest removes by recursion, and some of these trees are too deep for that.
    parent_fd = os.open(tmp_path, os.O_RDONLY)
    for name in os.listdir(parent_fd):
        remove_tree(parent_fd, os.fsencode(name))
    os.close(parent_fd)
