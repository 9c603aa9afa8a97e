"""Whatever system call of a change is the process's last, the next mount shows before or after."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import WhiteoutStyle
from tests.support.trees import Dir, build
from tests.union.changes import CHANGES, LOWER, UPPER
from tests.union.killing import killed_after
from tests.union.view import view

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.snapshot import Snapshot
    from tests.union.conftest import MakeWorld
    from tests.union.world import World

# Names become links of a copy one by one; one that is left out shows the same as before, but is
# a file of its own.
_LINKED_ONE_BY_ONE = {"write a hard link"}
_DELETES = ("unlink", "rmdir", "rename", "create over", "mkdir over", "link over")
_CASES = [
    *((change, WhiteoutStyle.DEVICE) for change in CHANGES),
    *((change, WhiteoutStyle.AUFS) for change in CHANGES if change.startswith(_DELETES)),
]


def looks(world: World, change: str) -> Snapshot:
    # A layer cannot say that it has a link less: a count of removed names ends with the mount.
    left_out = {"nlink": None} | ({"links": ()} if change in _LINKED_ONE_BY_ONE else {})
    return {
        path: replace(entry, **left_out) if entry.kind != "directory" else entry
        for path, entry in view(world).items()
    }


@pytest.mark.parametrize(("change", "style"), _CASES)
def test_a_kill_leaves_before_or_after(
    make_world: MakeWorld, tmp_path: Path, change: str, style: WhiteoutStyle
) -> None:
    build(tmp_path / "layer", {"": Dir()} | LOWER)
    done = make_world(tmp_path / "layer", upper=UPPER, whiteout=style)
    before = looks(done, change)
    CHANGES[change](done)
    done.reopen()
    after = looks(done, change)
    done.close()

    calls, killed = 1, True
    while killed:
        world = make_world(tmp_path / "layer", upper=UPPER, whiteout=style)
        world.find("p/sub/h2")
        killed = killed_after(calls, world, CHANGES[change])
        # The child's end let nothing go that this process still has open.
        world.reopen()
        shown = looks(world, change)
        assert shown in (before, after) if killed else shown == after, calls
        world.close()
        calls += 1
    assert calls > 2
