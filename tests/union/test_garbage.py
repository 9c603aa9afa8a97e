"""What a union lets go is freed at once: a daemon does not look for cycles among what is old."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.union.changes import CHANGES, LOWER, UPPER
from tests.union.test_kills import looks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.union.conftest import MakeWorld


@pytest.fixture(autouse=True)
def nothing_of_others() -> None:
    """What other tests left open in cycles is not closed meanwhile."""
    gc.collect()


@contextmanager
def _left_in_cycles() -> Iterator[list[object]]:
    """Fill in which objects of ours the body left behind that only a collection finds."""
    found: list[object] = []
    gc.collect()
    before = gc.isenabled()
    gc.disable()
    try:
        yield found
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        found += [left for left in gc.garbage if type(left).__module__.startswith("overlayfs_py")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        if before:
            gc.enable()


def test_changes_leave_nothing_in_a_cycle(make_world: MakeWorld) -> None:
    with _left_in_cycles() as left:
        for change, make in CHANGES.items():
            world = make_world(LOWER, {"p/dir/merged": LOWER["p/file"]}, upper=UPPER)
            looks(world, change)
            make(world)
            looks(world, change)
            world.forget()
            world.close()

    assert left == []


def test_a_failure_leaves_nothing_in_a_cycle(make_world: MakeWorld) -> None:
    world = make_world(LOWER, upper=UPPER)
    with _left_in_cycles() as left:
        for path in ("p", "p/file", "p/none"):
            try:
                world.rmdir(path)
            except OSError:
                continue
            pytest.fail(f"{path} was removed")
        world.forget()

    assert left == []
