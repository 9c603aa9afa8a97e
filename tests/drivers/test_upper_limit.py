"""A limit of the upper, as programs on the mount see it: a disk of that size."""

from __future__ import annotations

import errno
import mmap
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.drivers.metering import metering
from tests.drivers.serving import Stack, serving, wait_until, with_driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.drivers.serving import Daemon

_MIB = 1 << 20
_PAGE = 4096
_LIMIT = 4 * _MIB


@pytest.fixture
def limited(stack: Stack) -> Iterator[Daemon]:
    (stack.lower / "large").write_bytes(b"l" * 3 * _MIB)
    with serving(stack.spec._replace(upper_limit=_LIMIT), stack.plan) as daemon:
        yield daemon


def _left(root: Path) -> int:
    found = os.statvfs(root)
    return found.f_bavail * found.f_frsize


def _taken(stack: Stack) -> int:
    tops = [stack.upper, stack.work]
    paths = [path for top in tops for path in (top, *top.rglob("*"))]
    return sum({found.st_ino: found.st_blocks for found in map(os.lstat, paths)}.values()) * 512


def _fill(path: Path) -> int:
    """Write to a file until there is no room; returns how much that was."""
    written = 0
    with path.open("ab", buffering=0) as file:
        while True:
            try:
                written += file.write(b"f" * 300_000)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return written


def test_it_is_the_size_of_the_disk(stack: Stack, limited: Daemon) -> None:
    root = limited.target
    found = os.statvfs(root)
    assert found.f_blocks * found.f_frsize == _LIMIT
    assert _left(root) == _LIMIT - _taken(stack)

    written = _fill(root / "file")

    assert written + 3 * _PAGE >= _LIMIT - 4 * _PAGE
    assert _LIMIT - _PAGE < _taken(stack) <= _LIMIT
    assert _left(root) == 0
    assert (root / "file").read_bytes() == b"f" * written
    (root / "file").unlink()
    assert wait_until(lambda: _left(root) >= _LIMIT - 4 * _PAGE)
    (root / "file").write_bytes(b"again")


def test_space_comes_back_when_the_last_descriptor_is_closed(limited: Daemon) -> None:
    root = limited.target
    _fill(root / "file")
    with (root / "file").open("rb") as held:
        (root / "file").unlink()
        assert _left(root) == 0
        assert held.read(10) == b"f" * 10

    assert wait_until(lambda: _left(root) >= _LIMIT - 4 * _PAGE)


def test_a_copy_that_does_not_fit_leaves_nothing(stack: Stack, limited: Daemon) -> None:
    root = limited.target
    (root / "file").write_bytes(bytes(2 * _MIB))
    taken = _taken(stack)

    with pytest.raises(OSError, match="No space"), (root / "large").open("r+b") as file:
        file.write(b"x")
    with pytest.raises(OSError, match="No space"):
        (root / "large").chmod(0o600)

    assert _taken(stack) == taken
    assert (root / "large").read_bytes() == b"l" * 3 * _MIB
    assert wait_until(lambda: _left(root) == _LIMIT - taken)


def test_a_mapping_that_finds_no_room_is_told(stack: Stack, limited: Daemon) -> None:
    """The pages are dirty before anybody knows; what becomes of them must not be a secret."""
    root = limited.target
    fd = os.open(root / "mapped", os.O_RDWR | os.O_CREAT)
    os.truncate(fd, 8 * _MIB)
    with mmap.mmap(fd, 8 * _MIB) as mapped:
        for sync in (mapped.flush, lambda: os.fsync(fd), lambda: os.close(fd)):
            mapped[:] = b"m" * (8 * _MIB)
            with pytest.raises(OSError, match="No space"):
                sync()

    assert _taken(stack) <= _LIMIT


def test_what_a_killed_daemon_has_left_is_counted(stack: Stack) -> None:
    spec = stack.spec._replace(upper_limit=_LIMIT)
    with serving(spec, stack.plan) as first:
        (first.target / "file").write_bytes(bytes(2 * _MIB))
        first.signal(signal.SIGKILL)
        first.wait()

    with serving(spec, stack.plan) as second:
        assert _left(second.target) == _LIMIT - _taken(stack) < 2 * _MIB


def _work(root: Path) -> None:
    """A bit of everything."""
    (root / "d").mkdir()
    (root / "d/file").write_bytes(b"x" * 300_000)
    (root / "d/file").chmod(0o600)
    os.link(root / "d/file", root / "d/link")
    (root / "d/file").rename(root / "d/moved")
    os.truncate(root / "d/moved", 5)
    (root / "lower").write_bytes(b"new")
    for name in ("d/moved", "d/link", "lower"):
        (root / name).unlink()
    (root / "d").rmdir()


@pytest.mark.alone
def test_it_takes_no_message(scratch: Path) -> None:
    with_driver.set("direct")
    asked = []
    for limit in (None, 1 << 40):
        base = scratch / str(limit)
        base.mkdir()
        stack = Stack(base)
        (stack.lower / "lower").write_bytes(b"old")
        with serving(stack.spec._replace(upper_limit=limit), stack.plan) as daemon:
            with metering(daemon) as spent:
                _work(daemon.target)
            # Whether a directory's new times are told before they are asked for is up to chance.
            asked.append({kind: count for kind, count in spent.items() if kind != "getattr"})
    with_driver.set("auto")

    assert asked[0] == asked[1]


def test_what_the_kernel_collects_is_told_at_the_close(scratch: Path) -> None:
    stack = Stack(scratch)
    spec = stack.spec._replace(upper_limit=_LIMIT)
    plan = stack.plan._replace(writeback=True)
    with serving(spec, plan, driver="direct") as daemon:
        fd = os.open(daemon.target / "new", os.O_WRONLY | os.O_CREAT)
        assert os.write(fd, b"x" * 6 * _MIB) == 6 * _MIB
        with pytest.raises(OSError, match="No space") as caught:
            os.close(fd)
        assert _taken(stack) <= _LIMIT

    assert caught.value.errno == errno.ENOSPC
