"""A change that would copy many directories up is put off until that has been done in steps."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union import core
from overlayfs_py.union.copy_up import MOST_AT_ONCE
from overlayfs_py.union.steps import NeedsSteps, finished
from tests.support.trees import Dir, File, build
from tests.union.changes import CHANGES, LOWER, UPPER
from tests.union.test_kills import looks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.union.conftest import MakeWorld

_DEEP = "/".join(["d"] * (MOST_AT_ONCE + 1))


@pytest.mark.parametrize("change", CHANGES)
def test_it_comes_to_the_same(
    make_world: MakeWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    build(tmp_path / "layer", {"": Dir()} | LOWER)
    at_once, in_steps = (make_world(tmp_path / "layer", upper=UPPER) for _ in range(2))
    for world in (at_once, in_steps):
        world.find("p/sub/h2")
    before = looks(in_steps, change)
    CHANGES[change](at_once)

    monkeypatch.setattr(core, "MOST_AT_ONCE", 0)
    in_steps.union.put_off_long_changes()
    needed = _until_done(lambda: CHANGES[change](in_steps), lambda: looks(in_steps, change))

    assert all(look == before for look in needed)
    assert looks(in_steps, change) == looks(at_once, change)


def _until_done(change: Callable[[], object], look: Callable[[], object]) -> list[object]:
    """Ask for a change as a driver does; returns what was to be seen each time it was put off."""
    seen = []
    while True:
        try:
            change()
        except NeedsSteps as needed:
            seen.append(look())
            finished(needed.steps)
            seen.append(look())
        else:
            return seen


def test_only_many_directories_are_put_off(make_world: MakeWorld) -> None:
    world = make_world({f"{_DEEP}/file": File(b"deep"), "few/file": File(b"few")})
    world.union.put_off_long_changes()

    world.write("few/file", b"FEW")
    with pytest.raises(NeedsSteps) as caught:
        world.write(f"{_DEEP}/file", b"DEEP")

    assert os.listdir(world.upper) == ["few"]
    taken = sum(1 for _ in caught.value.steps)
    assert taken == MOST_AT_ONCE + 1
    world.write(f"{_DEEP}/file", b"DEEP")
    assert world.read(f"{_DEEP}/file") == b"DEEP"


def test_what_is_moved_between_two_steps_is_found(make_world: MakeWorld) -> None:
    world = make_world({f"{_DEEP}/file": File(b"deep"), "other/place": Dir()}, redirect_dir=True)
    world.union.put_off_long_changes()
    with pytest.raises(NeedsSteps) as caught:
        world.put(f"{_DEEP}/new")

    next(caught.value.steps)
    world.rename("d/d", "other/place/moved")
    finished(caught.value.steps)

    assert (world.upper / "other/place/moved" / "/".join(["d"] * (MOST_AT_ONCE - 1))).is_dir()
