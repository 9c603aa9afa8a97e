"""Volumes on a filesystem that may not answer, here FUSE: they work, and hold up nobody else."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.drivers.pyfuse3_lanes import LanedOperations
from overlayfs_py.drivers.pyfuse3_operations import UnionOperations
from overlayfs_py.drivers.pyfuse3_trace import parameters_of
from overlayfs_py.union.values import Volume
from tests.drivers.serving import Daemon, Stack, serving, start, stop, wait_until, with_driver
from tests.support.users import ALICE, errno_as

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S = 20


@pytest.fixture
def far(stack: Stack) -> Iterator[Daemon]:
    """The filesystem that the volume `/volume` lies on; whose upper is `base/far/upper`."""
    (stack.base / "far").mkdir()
    there = Stack(stack.base / "far")
    with serving(there.spec, there.plan, driver="direct") as daemon:
        yield daemon
        daemon.signal(signal.SIGCONT)


@pytest.fixture
def near(stack: Stack, far: Daemon) -> Iterator[Daemon]:
    (stack.lower / "other").write_bytes(b"other")
    (stack.base / "quick").mkdir()
    volumes = (
        Volume(os.fsencode(far.target), b"/volume"),
        Volume(os.fsencode(stack.base / "quick"), b"/volume/in/quick"),
    )
    daemon = start(stack.spec._replace(volumes=volumes), stack.plan)
    yield daemon
    assert stop(daemon) == ""


def _hang(far: Daemon) -> None:
    far.signal(signal.SIGSTOP)
    status = f"/proc/{far.process.pid}/status"

    def is_stopped() -> bool:
        with open(status) as lines:
            return any(line.startswith("State:\tT") for line in lines)

    assert wait_until(is_stopped)


def test_a_slow_volume_is_a_volume(stack: Stack, near: Daemon) -> None:
    volume, upper = stack.target / "volume", stack.base / "far/upper"
    (volume / "d").mkdir()
    file = volume / "d/file"
    file.write_bytes(b"data" * 100_000)
    assert file.read_bytes() == b"data" * 100_000
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())
        opened.truncate(5)
    os.chmod(file, 0o640)
    os.setxattr(file, "user.a", b"b")
    os.link(file, volume / "link")
    os.rename(file, volume / "renamed")
    (volume / "soft").symlink_to("renamed")
    os.mkfifo(volume / "pipe")

    assert (upper / "renamed").read_bytes() == b"datad"
    assert os.getxattr(upper / "link", "user.a") == b"b"
    assert sorted(os.listdir(volume)) == ["d", "in", "link", "pipe", "renamed", "soft"]
    assert (volume / "soft").read_bytes() == b"datad"
    assert (volume / "renamed").stat().st_nlink == 2
    os.unlink(volume / "link")
    (volume / "d").rmdir()
    assert sorted(os.listdir(upper)) == ["in", "pipe", "renamed", "soft"]
    assert os.statvfs(volume).f_blocks > 0
    fd = os.open(volume, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def test_a_mount_with_one_stays(stack: Stack, near: Daemon) -> None:
    """It is left only when it is gone, however long it takes to see that it is there."""
    end = time.monotonic() + 3.5  # longer than what waits for slow volumes gets at the end
    while time.monotonic() < end:
        assert near.process.poll() is None
        assert (stack.target / "other").read_bytes() == b"other"
        assert os.path.ismount(stack.target)


def test_its_edge_is_an_edge(stack: Stack, near: Daemon) -> None:
    target = stack.target
    (target / "volume/f").write_bytes(b"f")
    for old, new in (("volume/f", "f"), ("other", "volume/other"), ("other", "volume/f")):
        with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
            os.rename(target / old, target / new)
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        os.link(target / "volume/f", target / "g")
    with (target / "volume/f").open("rb") as source, (target / "copy").open("wb") as copy:
        assert os.sendfile(copy.fileno(), source.fileno(), 0, 9) == 1
    with pytest.raises(OSError, match=os.strerror(errno.EBUSY)):
        os.rmdir(target / "volume")
    with pytest.raises(OSError, match=os.strerror(errno.EBUSY)):
        os.rename(target / "volume", target / "moved")


def test_a_volume_inside_it_is_its_own(stack: Stack, near: Daemon) -> None:
    inside = stack.target / "volume/in/quick"
    (inside / "f").write_bytes(b"f")

    assert (stack.base / "quick/f").read_bytes() == b"f"
    with pytest.raises(OSError, match=os.strerror(errno.EXDEV)):
        os.rename(inside / "f", stack.target / "volume/f")


def test_users_have_their_rights_there(stack: Stack, near: Daemon) -> None:
    volume = stack.target / "volume"
    assert errno_as(ALICE, (volume / "f").touch) == errno.EACCES
    os.chmod(volume, 0o1777)
    assert errno_as(ALICE, (volume / "f").touch) == 0
    assert (stack.base / "far/upper/f").stat().st_uid == ALICE
    os.chown(volume, ALICE, ALICE)
    assert errno_as(ALICE, lambda: os.chmod(volume, 0o755)) == 0


def test_one_that_hangs_holds_up_its_own_users_alone(
    stack: Stack, far: Daemon, near: Daemon
) -> None:
    (stack.target / "volume/f").write_bytes(b"f")
    _hang(far)
    waiting = [
        subprocess.Popen(["stat", stack.target / "volume/new"], stderr=subprocess.DEVNULL)
        for _ in range(5)
    ]
    try:
        for count in range(20):
            began = time.monotonic()
            (stack.target / f"new {count}").write_bytes(b"x")
            assert (stack.target / "other").read_bytes() == b"other"
            assert "volume" in os.listdir(stack.target)
            assert time.monotonic() - began < _TIMEOUT_S / 4  # stopped, it would be for ever
        assert all(process.poll() is None for process in waiting)
    finally:
        far.signal(signal.SIGCONT)
    assert [process.wait(_TIMEOUT_S) for process in waiting] == [1] * 5
    assert (stack.target / "volume/f").read_bytes() == b"f"


def test_the_mount_can_be_left_while_one_hangs(stack: Stack, far: Daemon, near: Daemon) -> None:
    _hang(far)
    waiting = subprocess.Popen(["stat", stack.target / "volume/new"], stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: _is_waiting(waiting.pid))
        near.signal(signal.SIGTERM)
        near.wait()
        assert not near.is_mounted
    finally:
        far.signal(signal.SIGCONT)
        waiting.wait(_TIMEOUT_S)


def test_who_waits_for_it_can_be_killed(stack: Stack, far: Daemon, near: Daemon) -> None:
    """With the pyfuse3 driver, libfuse does not tell of that: the answer is waited for."""
    _hang(far)
    waiting = subprocess.Popen(["stat", stack.target / "volume/new"], stderr=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: _is_waiting(waiting.pid))
        waiting.kill()
        if with_driver.get() == "direct":
            assert waiting.wait(_TIMEOUT_S) == -signal.SIGKILL
    finally:
        far.signal(signal.SIGCONT)
        assert waiting.wait(_TIMEOUT_S) == -signal.SIGKILL


@pytest.mark.parametrize("operations", [UnionOperations, LanedOperations])
def test_a_log_names_what_was_asked(operations: type[UnionOperations]) -> None:
    assert parameters_of(operations.lookup) == ("parent_inode", "name", "ctx")
    assert parameters_of(operations.fsync) == ("fh", "datasync")


def _is_waiting(pid: int) -> bool:
    with open(f"/proc/{pid}/wchan") as wchan:
        where = wchan.read()
    return "fuse" in where or "request_wait" in where
