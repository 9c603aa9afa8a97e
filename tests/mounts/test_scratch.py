from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import Failure
from overlayfs_py.mounts import children
from overlayfs_py.mounts.scratch import scratch_directory
from tests.system.processes import wait_until

if TYPE_CHECKING:
    from overlayfs_py.mounts.children import Report


def fill(directory: Path) -> None:
    """Make a tree that is as hard to remove as a container's may be."""
    (directory / "file").write_text("x")
    (directory / "closed").mkdir()
    (directory / "closed/inside").mkdir()
    (directory / "closed").chmod(0)
    (directory / "outside").symlink_to("/etc")
    (directory / b"\xff\n".decode(errors="surrogateescape")).touch()
    os.mknod(directory / "whiteout", 0o020000)
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper than recursion", dir_fd=fd)
        inner = os.open("deeper than recursion", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = inner
    os.close(fd)


def test_nothing_is_left_at_the_end(tmp_path: Path) -> None:
    with scratch_directory(os.fsencode(tmp_path)) as scratch:
        [made] = tmp_path.iterdir()
        assert os.fsencode(made) == scratch
        assert made.stat().st_mode & 0o777 == 0o700
        fill(made)

    assert list(tmp_path.iterdir()) == []
    assert Path("/etc/passwd").exists()


def test_nothing_is_left_after_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyError), scratch_directory(os.fsencode(tmp_path)):
        raise KeyError

    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_when_its_user_is_killed(tmp_path: Path) -> None:
    def use(report: Report) -> None:
        with scratch_directory(os.fsencode(tmp_path)) as scratch:
            fill(Path(os.fsdecode(scratch)))
            report.ready()
            signal.pause()

    user = children.start(use)
    user.ready()
    assert len(list(tmp_path.iterdir())) == 1
    user.kill(signal.SIGKILL)
    user.wait()

    wait_until(lambda: not list(tmp_path.iterdir()), "the scratch directory to go")


def linger(report: Report) -> None:
    report.ready()
    signal.pause()


def test_it_stays_while_any_of_its_users_lives(tmp_path: Path) -> None:
    """The daemon writes there even after the supervisor has been killed."""

    def use(report: Report) -> None:
        with scratch_directory(os.fsencode(tmp_path)):
            other = children.start(linger)
            other.ready()
            report.ready(b"%d" % other.pid)
            signal.pause()

    user = children.start(use)
    other_pid = int(user.ready())
    user.kill(signal.SIGKILL)
    user.wait()
    [still_there] = tmp_path.iterdir()
    (still_there / "file").write_text("written by the other\n")
    os.kill(other_pid, signal.SIGKILL)

    wait_until(lambda: not list(tmp_path.iterdir()), "the scratch directory to go")


def test_where_none_can_be_made_says_where(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"

    with pytest.raises(Failure, match=str(nowhere)), scratch_directory(os.fsencode(nowhere)):
        pass
