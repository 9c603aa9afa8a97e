"""Whatever system call of a change fails, the change is done or is not, and says so.

The suite takes every n-th call of each change; `scripts/verify-failing-calls` takes all.
"""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import Dir, build
from tests.union.changes import CHANGES, LOWER, UPPER
from tests.union.conftest import open_files
from tests.union.failing import FAILURES, Fault, failing
from tests.union.invariants import check_invariants
from tests.union.test_kills import looks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.snapshot import Snapshot
    from tests.union.conftest import MakeWorld
    from tests.union.world import World

_ALL = "FAILING_CALLS" in os.environ
_STRIDE = {errno.EIO: 11, errno.ENOSPC: 5, errno.EMFILE: 4}


def _points(change: str, number: int) -> Iterator[int]:
    stride = 1 if _ALL else _STRIDE[number]
    return itertools.count(1 + list(CHANGES).index(change) % stride, stride)


def _attempt(world: World, change: str, fault: Fault) -> tuple[int | None, list[str]]:
    """The errno that the change failed with, and which calls failed."""
    with failing(fault) as hit:
        try:
            CHANGES[change](world)
        except OSError as error:
            return error.errno, hit
    return None, hit


def _require_sound(world: World, change: str, allowed: tuple[Snapshot, ...]) -> None:
    check_invariants(world, stage=False)
    assert looks(world, change) in allowed


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("number", FAILURES, ids=errno.errorcode.get)
@pytest.mark.parametrize("change", CHANGES)
def test_a_failing_call_leaves_before_or_after(
    make_world: MakeWorld, tmp_path: Path, change: str, number: int, lasting: bool
) -> None:
    build(tmp_path / "layer", {"": Dir()} | LOWER)
    done = make_world(tmp_path / "layer", upper=UPPER)
    before = looks(done, change)
    CHANGES[change](done)
    done.reopen()
    after = looks(done, change)
    done.close()
    kept_open = open_files()

    for first in _points(change, number):
        world = make_world(tmp_path / "layer", upper=UPPER)
        world.find("p/sub/h2")
        failure, hit = _attempt(world, change, Fault(number, first, lasting))
        assert failure in (None, number), hit
        allowed = (after,) if failure is None else (before, after)
        if not lasting:  # or else the rubbish that nothing could remove counts as links
            _require_sound(world, change, allowed)
        world.reopen()
        _require_sound(world, change, allowed)
        check_invariants(world)
        world.close()
        assert open_files() == kept_open, (first, hit)
        if not hit:
            break
