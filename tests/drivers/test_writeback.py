"""`writeback`: the kernel collects writes; whoever flushes finds all of it in the upper."""

from __future__ import annotations

import errno
import mmap
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import mounts
from tests.drivers.metering import metering
from tests.drivers.serving import Daemon, Stack, serving, with_driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PAST_NS = 10**18
_LINE = b"a line of a log\n"


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


@pytest.fixture
def daemon(stack: Stack) -> Iterator[Daemon]:
    (stack.lower / "log").write_bytes(b"old\n" * 1000)
    (stack.lower / "log").chmod(0o200)  # the kernel reads what its caller may only write
    with serving(stack.spec, stack.plan._replace(writeback=True)) as daemon:
        yield daemon


def appended(path: Path, count: int) -> int:
    """A descriptor through which so many lines were written, each by a call of its own."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for _ in range(count):
        assert os.write(fd, _LINE) == len(_LINE)
    return fd


@pytest.mark.alone  # where memory is short the kernel writes sooner
def test_many_small_writes_are_few_messages(daemon: Daemon) -> None:
    with metering(daemon) as spent:
        os.close(appended(daemon.target / "new", 1000))

    assert spent["write"] == 1


@pytest.mark.parametrize(
    "flush",
    [
        os.close,
        os.fsync,
        os.fdatasync,
        lambda fd: subprocess.run(["sync", "-f", f"/proc/self/fd/{fd}"], pass_fds=[fd], check=True),
    ],
    ids=["close", "fsync", "fdatasync", "syncfs"],
)
@pytest.mark.parametrize("name", ["new", "log"])
def test_a_flush_brings_it_all_to_the_upper(
    stack: Stack, daemon: Daemon, name: str, flush: Callable[[int], object]
) -> None:
    before = (stack.lower / name).read_bytes() if name == "log" else b""
    fd = appended(daemon.target / name, 500)

    flush(fd)

    assert (stack.upper / name).read_bytes() == before + _LINE * 500
    shown, stored = (daemon.target / name).stat(), (stack.upper / name).stat()
    assert shown.st_size == stored.st_size
    if flush is not os.close:
        os.close(fd)
    # The kernel's clock said when it was written, whenever it arrived.
    assert (stack.upper / name).stat().st_mtime_ns == (daemon.target / name).stat().st_mtime_ns


def test_times_that_a_user_set_stay(stack: Stack, daemon: Daemon) -> None:
    fd = appended(daemon.target / "new", 5)
    os.utime(fd, ns=(_PAST_NS, _PAST_NS))
    os.close(fd)

    for root in (daemon.target, stack.upper):
        assert (root / "new").stat().st_mtime_ns == _PAST_NS


def test_a_mapping_is_written_back(stack: Stack, daemon: Daemon) -> None:
    with (daemon.target / "log").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[:3] = b"NEW"
        mapped.flush()

    assert (stack.upper / "log").read_bytes().startswith(b"NEW\nold")


def test_what_was_written_survives_an_unmount(stack: Stack) -> None:
    plan = stack.plan._replace(writeback=True)
    with serving(stack.spec, plan) as daemon:
        fd = appended(daemon.target / "new", 10)
        os.link(daemon.target / "new", daemon.target / "linked")
        os.rename(daemon.target / "new", daemon.target / "moved")
        os.unlink(daemon.target / "linked")
        os.close(fd)
        fd = appended(daemon.target / "gone", 10)
        os.unlink(daemon.target / "gone")
        os.close(fd)

    assert (stack.upper / "moved").read_bytes() == _LINE * 10
    assert os.listdir(stack.upper) == ["moved"]


def test_a_copy_between_files_takes_what_is_still_in_the_kernel(daemon: Daemon) -> None:
    source = appended(daemon.target / "source", 100)
    target = os.open(daemon.target / "target", os.O_RDWR | os.O_CREAT)
    reader = os.open(daemon.target / "source", os.O_RDONLY)

    copied = os.copy_file_range(reader, target, 1 << 20)

    assert os.pread(target, 1 << 20, 0) == _LINE * 100
    assert copied == len(_LINE) * 100
    for fd in (source, target, reader):
        os.close(fd)


def test_new_data_is_no_hole(daemon: Daemon) -> None:
    fd = appended(daemon.target / "new", 10)

    assert os.lseek(fd, 0, os.SEEK_DATA) == 0
    assert os.lseek(fd, 0, os.SEEK_HOLE) == len(_LINE) * 10
    os.close(fd)


def test_a_full_disk_is_told_at_the_close(stack: Stack) -> None:
    small = stack.base / "small"
    small.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(small), b"tmpfs", 0, b"size=256k")
    try:
        for name in ("upper", "work"):
            (small / name).mkdir()
        spec = stack.spec._replace(
            upper=os.fsencode(small / "upper"), work=os.fsencode(small / "work")
        )
        with serving(spec, stack.plan._replace(writeback=True)) as daemon:
            fd = os.open(daemon.target / "new", os.O_WRONLY | os.O_CREAT)
            os.write(fd, b"x" * (1 << 20))
            with pytest.raises(OSError, match="No space") as caught:
                os.close(fd)
    finally:
        mounts.umount(os.fsencode(small), mounts.MNT_DETACH)

    assert caught.value.errno == errno.ENOSPC
