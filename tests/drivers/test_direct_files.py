"""What only the direct driver can say: ranges, holes, nameless files, flags, times of birth."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import files, mounts
from overlayfs_py.union.values import Volume
from tests.drivers.serving import Stack, serving, with_driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")

KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE, ZERO_RANGE, INSERT_RANGE = 1, 2, 8, 16, 32
BLOCK = 4096
CONTENT = b"a" * BLOCK + b"b" * BLOCK + b"c" * BLOCK


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


@pytest.fixture
def target(stack: Stack) -> Iterator[Path]:
    """A mount with the same content in `lower`, which lies in the layer, and `upper`."""
    (stack.lower / "lower").write_bytes(CONTENT)
    with (stack.lower / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 20)
        sparse.seek(512 << 10)
        sparse.write(b"data")
    with serving(stack.spec, stack.plan):
        (stack.target / "upper").write_bytes(CONTENT)
        yield stack.target
    assert (stack.lower / "lower").read_bytes() == CONTENT


def allocate(file: Path, mode: int, offset: int, length: int) -> None:
    fd = os.open(file, os.O_RDWR)
    try:
        files.allocate(fd, mode, offset, length)
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", ["lower", "upper"])
@pytest.mark.parametrize(
    ("mode", "offset", "length", "expected"),
    [
        (0, 0, 4 * BLOCK, CONTENT + bytes(BLOCK)),
        (KEEP_SIZE, 0, 8 * BLOCK, CONTENT),
        (PUNCH_HOLE | KEEP_SIZE, BLOCK, BLOCK, CONTENT.replace(b"b", b"\0")),
        (ZERO_RANGE, BLOCK, BLOCK, CONTENT.replace(b"b", b"\0")),
        (ZERO_RANGE, 2 * BLOCK, 2 * BLOCK, CONTENT.replace(b"c", b"\0") + bytes(BLOCK)),
        (ZERO_RANGE | KEEP_SIZE, 2 * BLOCK, 2 * BLOCK, CONTENT.replace(b"c", b"\0")),
    ],
    ids=["longer", "kept", "hole", "zeroes", "zeroes beyond", "zeroes kept"],
)
def test_fallocate(
    target: Path, name: str, mode: int, offset: int, length: int, expected: bytes
) -> None:
    before = (target / name).read_bytes()  # in the page cache, where the change must show
    allocate(target / name, mode, offset, length)

    assert before == CONTENT
    assert (target / name).read_bytes() == expected
    assert (target.parent / "upper" / name).read_bytes() == expected


@pytest.mark.parametrize("mode", [COLLAPSE_RANGE, INSERT_RANGE])
def test_ranges_that_move_others_are_refused(target: Path, mode: int) -> None:
    """By the kernel, before it asks: fs/fuse/file.c, fuse_file_fallocate."""
    with pytest.raises(OSError, match="not supported") as caught:
        allocate(target / "upper", mode, 0, BLOCK)

    assert caught.value.errno == errno.EOPNOTSUPP
    assert (target / "upper").read_bytes() == CONTENT


def test_allocated_space_is_taken(target: Path) -> None:
    before = (target / "upper").stat().st_blocks
    allocate(target / "upper", KEEP_SIZE, 0, 1 << 20)

    assert (target / "upper").stat().st_blocks >= before + (1 << 20) // 512 - 3 * BLOCK // 512


def extents(file: Path) -> tuple[int, int]:
    """Where the first data begins and ends."""
    fd = os.open(file, os.O_RDONLY)
    try:
        start = os.lseek(fd, 0, os.SEEK_DATA)
        return start, os.lseek(fd, start, os.SEEK_HOLE)
    finally:
        os.close(fd)


def test_holes_are_found_in_a_layer_and_after_copy_up(target: Path) -> None:
    in_layer = extents(target / "sparse")
    (target / "sparse").touch()
    in_upper = extents(target / "sparse")

    assert in_layer == in_upper == (512 << 10, (512 << 10) + BLOCK)


def test_no_data_is_enxio(target: Path) -> None:
    fd = os.open(target / "sparse", os.O_RDONLY)
    with pytest.raises(OSError, match="No such device") as caught:
        os.lseek(fd, 900 << 10, os.SEEK_DATA)
    os.close(fd)

    assert caught.value.errno == errno.ENXIO


def test_copies_between_layers(target: Path) -> None:
    """All that is newer in the page cache than on the disk is copied as well."""
    (target / "source").write_bytes(b"0" * BLOCK + b"1" * BLOCK)
    for source, into in (("lower", "new"), ("lower", "upper"), ("source", "lower")):
        reading = os.open(target / source, os.O_RDONLY)
        writing = os.open(target / into, os.O_RDWR | os.O_CREAT)
        with mmap.mmap(writing, 0) if into == "upper" else memoryview(b"") as mapped:
            if into == "upper":
                mapped[2 * BLOCK] = ord("d")
            assert os.copy_file_range(reading, writing, BLOCK, 0, BLOCK) == BLOCK
        os.close(reading)
        os.close(writing)

    assert (target / "new").read_bytes() == bytes(BLOCK) + b"a" * BLOCK
    assert (target / "upper").read_bytes() == b"a" * 2 * BLOCK + b"d" + b"c" * (BLOCK - 1)
    assert (target / "lower").read_bytes() == b"a" * BLOCK + b"0" * BLOCK + b"c" * BLOCK


def test_a_large_copy_is_whole(target: Path) -> None:
    data = os.urandom(1 << 20) * 9 + b"tail"
    (target / "large").write_bytes(data)
    subprocess.run(["cp", target / "large", target / "copy"], check=True)

    assert (target / "copy").read_bytes() == data


def give_a_name(fd: int, name: Path) -> None:
    directory = os.open("/proc/self/fd", os.O_PATH)
    try:  # without a directory's descriptor Python's link(2) follows nothing
        os.link(str(fd), name, src_dir_fd=directory, follow_symlinks=True)
    finally:
        os.close(directory)


def test_a_file_without_a_name_gets_one(target: Path) -> None:
    fd = os.open(target, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"content")
    before = os.fstat(fd)
    give_a_name(fd, target / "named")
    after = os.fstat(fd)
    os.close(fd)

    assert (before.st_nlink, after.st_nlink) == (0, 1)
    assert before.st_ino == after.st_ino == (target / "named").stat().st_ino
    assert (target / "named").read_bytes() == b"content"
    assert (target.parent / "upper" / "named").stat().st_mode & 0o777 == 0o640


def test_a_file_that_never_gets_one_leaves_nothing(target: Path) -> None:
    fd = os.open(target, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o600)
    os.write(fd, b"content")
    with pytest.raises(FileNotFoundError):
        give_a_name(fd, target / "named")
    os.close(fd)

    assert sorted(os.listdir(target)) == ["lower", "sparse", "upper"]
    assert [path for path in (target.parent / "work").rglob("*") if path.is_file()] == []


def flags_of(file: Path) -> str:
    return subprocess.check_output(["lsattr", "-d", file], text=True).split()[0]


@pytest.mark.parametrize("name", ["lower", "upper"])
def test_flags(target: Path, name: str) -> None:
    before = flags_of(target / name)
    subprocess.run(["chattr", "+dA", target / name], check=True)
    after = flags_of(target / name)
    on_disk = flags_of(target.parent / "upper" / name)
    subprocess.run(["chattr", "-dA", target / name], check=True)

    assert {"d", "A"} & set(before) == set()
    assert {"d", "A"} <= set(after)
    assert after == on_disk
    assert flags_of(target / name) == before
    assert (target / name).read_bytes() == CONTENT


def test_one_who_is_not_root_makes_nothing_immutable(target: Path) -> None:
    os.chown(target / "upper", NOBODY, NOBODY)
    refused = subprocess.run([*AS_NOBODY, "chattr", "+i", target / "upper"], capture_output=True)

    assert refused.returncode != 0
    assert "i" not in flags_of(target.parent / "upper" / "upper")


def test_other_ioctls_are_enotty(target: Path) -> None:
    with (target / "upper").open("rb") as file, pytest.raises(OSError, match="ioctl") as caught:
        fcntl.ioctl(file, 0x5401, bytes(64))  # TCGETS

    assert caught.value.errno == errno.ENOTTY


def test_the_time_of_birth_is_shown(target: Path) -> None:
    for name in ("lower", "upper"):
        birth_ns = files.birth_time_ns(os.fsencode(target / name), follow=False)
        on_disk = files.birth_time_ns(os.fsencode(target.parent / name / name), follow=False)
        assert birth_ns is not None
        assert birth_ns == on_disk


HOLD_LOCK = """
import fcntl, sys
file = open(sys.argv[1], "r+b")
(fcntl.flock if sys.argv[2] == "flock" else fcntl.lockf)(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("kind", ["flock", "lockf"])
@pytest.mark.parametrize("name", ["lower", "upper"])
def test_locks_between_processes(target: Path, kind: str, name: str) -> None:
    lock = getattr(fcntl, kind)
    command = [sys.executable, "-c", HOLD_LOCK, target / name, kind]
    with (
        (target / name).open("r+b") as file,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder,
    ):
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(BlockingIOError):
            lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.communicate(b"")
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    assert holder.returncode == 0


def test_direct_io(target: Path) -> None:
    for name in ("lower", "upper"):
        fd = os.open(target / name, os.O_RDWR | os.O_DIRECT)
        with mmap.mmap(-1, BLOCK) as buffer:
            assert os.preadv(fd, [buffer], BLOCK) == BLOCK
            assert buffer[:] == b"b" * BLOCK
            buffer[:] = b"d" * BLOCK
            assert os.pwritev(fd, [buffer], 2 * BLOCK) == BLOCK
        os.close(fd)

        assert (target / name).read_bytes() == CONTENT.replace(b"c", b"d")


RANGE_CALLS = """
import os, sys
sys.path.insert(0, sys.argv[3])
from overlayfs_py.syscalls import files
fd = os.open(sys.argv[1], os.O_RDWR)
if sys.argv[2] == "fallocate":
    files.allocate(fd, 0, 0, 100_000)
elif sys.argv[2] == "copy_file_range":
    os.copy_file_range(fd, fd, 10, 0, 5000)
else:
    os.ftruncate(fd, 10)
"""


@pytest.mark.parametrize("call", ["fallocate", "copy_file_range", "ftruncate"])
def test_one_who_is_not_root_loses_the_set_id_bits(target: Path, call: str) -> None:
    program = target / "upper"
    program.chmod(0o6777)
    checkout = os.fspath(os.getcwd())
    subprocess.run(
        [*AS_NOBODY, sys.executable, "-c", RANGE_CALLS, program, call, checkout], check=True
    )

    assert program.stat().st_mode & 0o7777 == 0o777
    assert (target.parent / "upper" / "upper").stat().st_mode & 0o7777 == 0o777


def test_writing_drops_a_capability(target: Path) -> None:
    name = "security.capability"
    capability = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)
    os.setxattr(target / "upper", name, capability)
    before = os.getxattr(target / "upper", name)
    with (target / "upper").open("r+b") as file:
        file.write(b"changed")

    assert before == capability
    with pytest.raises(OSError, match="No data"):
        os.getxattr(target / "upper", name)
    with pytest.raises(OSError, match="No data"):
        os.getxattr(target.parent / "upper" / "upper", name)


def test_times_long_ago_and_far_ahead(target: Path) -> None:
    for seconds in (-1_000_000, 4_000_000_000):
        os.utime(target / "upper", ns=(seconds * 10**9 + 5, seconds * 10**9 + 7))
        status = (target / "upper").stat()

        assert status.st_mtime_ns == seconds * 10**9 + 7
        assert status.st_atime_ns == seconds * 10**9 + 5


def test_sync_calls_reach_the_filesystem(target: Path) -> None:
    """syncfs(2) sends nothing to a FUSE mount: it only must not fail."""
    fd = os.open(target / "upper", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.syncfs(fd), libc.sync_file_range(fd, 0, 0, 7)
    os.close(fd)

    assert done == (0, 0)


def test_statfs_in_a_volume_is_the_volume_s(stack: Stack) -> None:
    disk = stack.base / "disk"
    disk.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(disk), b"tmpfs", 0, b"size=1m")
    (disk / "file").touch()
    (disk / "directory").mkdir()
    spec = stack.spec._replace(volumes=(Volume(os.fsencode(disk), b"/volume"),))
    try:
        with serving(spec, stack.plan):
            volume = stack.target / "volume"
            places = (volume, volume / "file", volume / "directory")
            in_volume = {os.statvfs(place).f_blocks for place in places}
            beside = os.statvfs(stack.target).f_blocks
        expected = os.statvfs(disk).f_blocks
    finally:
        mounts.umount(os.fsencode(disk), mounts.MNT_DETACH)

    assert in_volume == {expected}
    assert beside == os.statvfs(stack.upper).f_blocks
