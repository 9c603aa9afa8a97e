"""Whatever system call of a change is the process's last, the next mount shows before or after."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import files
from overlayfs_py.union.values import WhiteoutStyle
from tests.support.trees import Dir, build
from tests.union.changes import CHANGES, LOWER, UPPER
from tests.union.view import view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.snapshot import Snapshot
    from tests.union.conftest import MakeWorld
    from tests.union.world import World

_OS_CALLS = (
    *("chmod", "chown", "copy_file_range", "fchmod", "ftruncate", "link", "mkdir", "mknod"),
    *("open", "pwrite", "removexattr", "rename", "rmdir", "setxattr", "symlink", "unlink", "utime"),
)
# Names become links of a copy one by one; one that is left out shows the same as before, but is
# a file of its own.
_LINKED_ONE_BY_ONE = {"write a hard link"}
_DELETES = ("unlink", "rmdir", "rename", "create over", "mkdir over", "link over")
_CASES = [
    *((change, WhiteoutStyle.DEVICE) for change in CHANGES),
    *((change, WhiteoutStyle.AUFS) for change in CHANGES if change.startswith(_DELETES)),
]


_OPEN = os.open


class _Countdown:
    """Ends the process after so many more calls that can change a filesystem."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def after(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            answer = call(*args, **kwargs)
            if call is _OPEN and not int(args[1]) & os.O_CREAT:
                return answer
            self.left -= 1
            if self.left == 0:
                os._exit(1)
            return answer

        return counted


def _killed_after(calls: int, world: World, change: Callable[[World], object]) -> bool:
    """Run a change in a process that dies after so many calls; False where it got through."""
    pid = os.fork()
    if pid == 0:
        countdown = _Countdown(calls)
        for name in _OS_CALLS:
            setattr(os, name, countdown.after(getattr(os, name)))
        files._renameat2 = countdown.after(files._renameat2)
        try:
            change(world)
        finally:
            os._exit(0 if countdown.left > 0 else 2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0


def _looks(world: World, change: str) -> Snapshot:
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
    before = _looks(done, change)
    CHANGES[change](done)
    done.reopen()
    after = _looks(done, change)
    done.close()

    calls, killed = 1, True
    while killed:
        world = make_world(tmp_path / "layer", upper=UPPER, whiteout=style)
        world.find("p/sub/h2")
        killed = _killed_after(calls, world, CHANGES[change])
        # The child's end let nothing go that this process still has open.
        world.reopen()
        shown = _looks(world, change)
        assert shown in (before, after) if killed else shown == after, calls
        world.close()
        calls += 1
    assert calls > 2
