"""Copy-ups of large files: one each, and nobody else waits."""

from __future__ import annotations

import errno
import filecmp
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from overlayfs_py.drivers.copyups import CopyUps
from overlayfs_py.drivers.slices import Slices
from overlayfs_py.syscalls import mounts
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import Volume
from tests.drivers.serving import (
    Stack,
    copies_under_way,
    is_copying_up,
    serving,
    start,
    stop,
    wait_until,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Delays are compared with the time of a copy, which others would share.
pytestmark = pytest.mark.alone

LARGE_BYTES = 300 << 20


@pytest.fixture
def union(stack: Stack) -> Iterator[Union]:
    opened = Union(stack.spec)
    yield opened
    opened.close()


def fill(file: Path, size_bytes: int) -> None:
    block = os.urandom(1 << 20)
    with file.open("wb") as filled:
        for _ in range(size_bytes >> 20):
            filled.write(block)
        filled.flush()
        os.fsync(filled.fileno())


def inode_in_upper(stack: Stack, name: str) -> int | None:
    try:
        return (stack.upper / name).stat().st_ino
    except FileNotFoundError:
        return None


@pytest.mark.trio
async def test_two_who_ask_share_one(stack: Stack, union: Union) -> None:
    fill(stack.lower / "file", 10 << 20)
    node = union.lookup(union.root, b"file")
    assert node is not None
    union.hold(node)
    copy_ups = CopyUps(union, Slices())
    inodes = []

    async def ask() -> None:
        await copy_ups.ensure(node)
        inodes.append(inode_in_upper(stack, "file"))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        staged = copies_under_way(stack, os.getpid())

    assert inodes == [(stack.upper / "file").stat().st_ino] * 3
    assert len(staged) == 1


@pytest.mark.trio
async def test_small_copies_take_a_thread_while_the_disk_is_slow(
    stack: Stack, union: Union, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_ups, took_s, inline = CopyUps(union, Slices()), [0.0, 0.0, 0.01, 0.0], []
    threads: list[int] = []

    def sync(_fd: int) -> None:
        threads.append(threading.get_ident())
        end = time.monotonic() + took_s[len(threads) - 1]
        while time.monotonic() < end:
            pass

    monkeypatch.setattr(os, "fsync", sync)
    for number in range(len(took_s)):
        (stack.lower / f"small{number}").write_bytes(b"x")
        node = union.lookup(union.root, b"small%d" % number)
        assert node is not None
        inline.append(not copy_ups.is_long(node))
        await copy_ups.ensure(node)

    assert inline == [False, True, True, False]
    assert [thread == threading.get_ident() for thread in threads] == inline
    last = union.lookup(union.root, b"small3")
    assert last is not None
    assert not copy_ups.is_long(last)


@pytest.mark.trio
async def test_what_was_unlinked_meanwhile_stays_gone(stack: Stack, union: Union) -> None:
    fill(stack.lower / "file", 10 << 20)
    node = union.lookup(union.root, b"file")
    assert node is not None
    union.hold(node)
    copy_ups = CopyUps(union, Slices())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(copy_ups.ensure, node)
        await trio.testing.wait_all_tasks_blocked()
        union.unlink(union.root, b"file")

    union.open_file(node, write=True)
    union.write(node, 0, b"still")
    assert union.lookup(union.root, b"file") is None
    assert union.read(node, 0, 5) == b"still"


@pytest.mark.trio
async def test_a_failed_one_leaves_nothing_and_can_be_repeated(stack: Stack) -> None:
    fill(stack.lower / "file", 4 << 20)
    small = stack.base / "small"
    small.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(small), b"tmpfs", 0, b"size=2m")
    try:
        for name in ("upper", "work"):
            (small / name).mkdir()
        upper, work = os.fsencode(small / "upper"), os.fsencode(small / "work")
        union = Union(stack.spec._replace(upper=upper, work=work))
        node = union.lookup(union.root, b"file")
        assert node is not None
        copy_ups = CopyUps(union, Slices())

        with pytest.raises(OSError, match="No space") as caught:
            await copy_ups.ensure(node)
        left = [path for path in small.rglob("*") if path.is_file() and path.stat().st_size]
        mounts.mount(None, os.fsencode(small), None, mounts.MS_REMOUNT, b"size=20m")
        await copy_ups.ensure(node)
        copied = (small / "upper" / "file").stat().st_size
        union.close()
    finally:
        mounts.umount(os.fsencode(small), mounts.MNT_DETACH)

    assert caught.value.errno == errno.ENOSPC
    assert left == []
    assert copied == 4 << 20


def test_what_is_refused_is_not_copied_up(stack: Stack) -> None:
    fill(stack.lower / "large", 1 << 20)
    volume = stack.base / "volume"
    volume.mkdir()
    spec = stack.spec._replace(volumes=(Volume(os.fsencode(volume), b"/volume"),))

    with serving(spec, stack.plan), pytest.raises(OSError, match="cross-device") as caught:
        os.rename(stack.target / "large", stack.target / "volume" / "large")

    assert caught.value.errno == errno.EXDEV
    assert inode_in_upper(stack, "large") is None


def test_others_are_served_while_two_writers_wait_for_one_copy_up(stack: Stack) -> None:
    fill(stack.lower / "large", LARGE_BYTES)
    (stack.lower / "other").write_text("other")
    target = stack.target

    def write(offset: int) -> None:
        with (target / "large").open("r+b") as file:
            file.seek(offset)
            file.write(b"changed")

    with serving(stack.spec, stack.plan):
        writers = [threading.Thread(target=write, args=(offset,)) for offset in (0, 1 << 20)]
        begun = time.monotonic()
        for writer in writers:
            writer.start()
        delays_s = list(delays_of_others(target, writers))
        for writer in writers:
            writer.join()
        copied_s = time.monotonic() - begun
        with (target / "large").open("rb") as file:
            heads = [os.pread(file.fileno(), 7, offset) for offset in (0, 1 << 20)]

    print(
        f"copy-up {copied_s:.2f} s, meanwhile {len(delays_s)} requests about others,"
        f" slowest {max(delays_s) * 1e3:.1f} ms"
    )
    assert heads == [b"changed"] * 2
    assert (stack.upper / "large").stat().st_size == LARGE_BYTES
    assert len(delays_s) > 10
    assert max(delays_s) < copied_s / 2


def delays_of_others(target: Path, writers: list[threading.Thread]) -> Iterator[float]:
    """Ask the daemon something new for as long as the writers wait."""
    number = 0
    while any(writer.is_alive() for writer in writers):
        number += 1
        begun = time.monotonic()
        assert (target / "other").exists()
        assert not (target / f"never-asked-before-{number}").exists()
        yield time.monotonic() - begun


def change_first_byte(path: Path) -> None:
    """Copy up: at the open or, where the daemon is not asked about that, at the write."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, b"c")
    finally:
        with suppress(OSError):  # close(2) may ask the daemon, which is gone
            os.close(fd)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_ends_in_the_middle_leaves_all_or_nothing(
    stack: Stack, number: signal.Signals
) -> None:
    fill(stack.lower / "large", LARGE_BYTES)
    daemon = start(stack.spec, stack.plan)
    with ThreadPoolExecutor() as pool:
        changing = pool.submit(change_first_byte, stack.target / "large")
        staged = wait_until(lambda: is_copying_up(stack, daemon))
        daemon.signal(number)
        daemon.wait()
        words = stop(daemon)
        failure = changing.exception()

    with serving(stack.spec, stack.plan):
        size = (stack.target / "large").stat().st_size
        left = [path for path in stack.work.rglob("*") if path.is_file()]

    assert staged
    assert words == ""
    assert failure is None or isinstance(failure, OSError)
    assert size == LARGE_BYTES
    assert inode_in_upper(stack, "large") is None or (
        (stack.upper / "large").stat().st_size == LARGE_BYTES
    )
    assert left == []


def test_a_metacopy_changes_while_its_data_is_copied(stack: Stack) -> None:
    """Through another of its descriptors: the kernel lets them wait for the write, or not."""
    fill(stack.lower / "large", LARGE_BYTES)
    spec = stack.spec._replace(metacopy=True)
    large = stack.target / "large"
    with serving(spec, stack.plan) as daemon, ThreadPoolExecutor() as pool:
        large.chmod(0o640)
        # A block may hold its xattrs.
        assert (stack.upper / "large").stat().st_blocks * 512 < LARGE_BYTES
        writing = pool.submit(change_first_byte, large)
        staged = wait_until(lambda: is_copying_up(stack, daemon))
        os.utime(large, ns=(1, 2))
        large.chmod(0o600)
        writing.result()
        status = large.stat()
        with large.open("rb") as file:
            head = file.read(3)

    assert staged
    assert head[:1] == b"c"
    assert status.st_mode & 0o777 == 0o600
    assert (stack.upper / "large").stat().st_blocks * 512 >= LARGE_BYTES
    assert "trusted.overlay.metacopy" not in os.listxattr(stack.upper / "large")


def test_a_metacopy_that_is_killed_on_its_way_to_data_has_all_or_none(stack: Stack) -> None:
    fill(stack.lower / "large", LARGE_BYTES)
    spec = stack.spec._replace(metacopy=True)
    daemon = start(spec, stack.plan)
    (stack.target / "large").chmod(0o600)
    os.utime(stack.target / "large", ns=(1, 2))
    with ThreadPoolExecutor() as pool:
        changing = pool.submit(change_first_byte, stack.target / "large")
        staged = wait_until(lambda: is_copying_up(stack, daemon))
        daemon.signal(signal.SIGKILL)
        daemon.wait()
        stop(daemon)
        failure = changing.exception()

    with serving(spec, stack.plan):
        status = (stack.target / "large").stat()
        same = filecmp.cmp(stack.target / "large", stack.lower / "large", shallow=False)

    assert staged
    assert isinstance(failure, OSError)
    assert same
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o600, 2)


def test_what_is_being_written_is_what_others_read(stack: Stack) -> None:
    """Nothing drops the pages of which a WRITE is under way: what is read instead would stay."""
    file, layers = stack.target / "file", stack.lower / "file"
    fill(layers, LARGE_BYTES)
    with (
        serving(stack.spec, stack.plan),
        file.open("r+b", buffering=0) as opened,
        ThreadPoolExecutor() as pool,
    ):
        os.pread(opened.fileno(), 4, 0)
        writing = pool.submit(os.pwrite, opened.fileno(), b"new!", 0)
        wait_until(lambda: is_copying_up(stack))
        os.utime(layers, (5, 5))  # as a write that is done would change it
        subprocess.run(["stat", "--cached=never", file], check=True, stdout=subprocess.DEVNULL)
        seen = os.pread(opened.fileno(), 4, 0)
        was_early = not writing.done()
        writing.result()

    assert was_early
    assert seen == b"new!"
