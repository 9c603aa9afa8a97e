"""What each operation costs in requests to the direct driver: exact, since it is why it exists.

Measured on Linux 6.18. Where the kernel asks for something that it could know, the test says why,
with the function that does it; none of these can be answered beforehand.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.drivers.metering import metering, report
from tests.drivers.serving import Daemon, Stack, serving, wait_until, with_driver
from tests.drivers.test_mounting import (
    AS_NOBODY,
    IN_USER_NAMESPACE,
    fuse_device_for_everyone,
    give_to_nobody,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

# Others would drop caches, or take memory: both make the kernel forget and ask again.
pytestmark = pytest.mark.alone

FILES = 60
NAMES = 1000
SIZE_BYTES = 600
NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY

# A name is looked up, found missing, and created: the kernel asks for it even if it remembers that
# it is missing, since O_EXCL must not trust that (fs/fuse/dir.c, fuse_dentry_revalidate).
# GETATTR of the directory: the creation before this one outdated all it knew of it, its mode among
# that, which it must check on the way (fuse_dir_changed, fuse_permission). Only a GETATTR brings it
# back; no answer or notification carries the attributes of another node.
# MKNOD: CREATE is refused for good, since it would be followed by a RELEASE at the close.
CREATING = {"getattr": 1, "lookup": 1, "mknod": 1}
# Before the first write to an inode since its attributes came: is there a capability to drop?
# (fs/inode.c, file_remove_privs; security/commoncap.c, cap_inode_need_killpriv.) Without
# HANDLE_KILLPRIV_V2 it would be before every write. ENOSYS would end it, and every xattr with it.
ASKING_FOR_CAPABILITIES = {"getxattr": 1}


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    stack = Stack(scratch)
    directory = stack.lower / "dir"
    directory.mkdir()
    for number in range(FILES):
        (directory / f"file-{number}").write_bytes(b"x" * SIZE_BYTES)
    (stack.lower / "link").symlink_to("dir")
    return stack


@pytest.fixture
def daemon(stack: Stack) -> Iterator[Daemon]:
    """A mount that has been used a little: a file was opened, a directory listed and changed."""
    with serving(stack.spec, stack.plan) as daemon:
        open_and_close(stack.target / "dir" / "file-0")
        (stack.target / "new").mkdir()
        os.listdir(stack.target / "new")
        create(stack.target / "new" / "first")
        yield daemon


def open_and_close(file: Path, flags: int = os.O_RDONLY) -> None:
    os.close(os.open(file, flags))


# Plain system calls: Python's open() asks about a terminal, with an IOCTL for each file.
def read(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    assert len(os.read(fd, SIZE_BYTES)) == SIZE_BYTES
    os.close(fd)


def create(file: Path) -> None:
    fd = os.open(file, NEW, 0o644)
    os.write(fd, b"x" * SIZE_BYTES)
    os.close(fd)


def append(file: Path) -> None:
    fd = os.open(file, os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"x")
    os.close(fd)


def map_and_read(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    with mmap.mmap(fd, SIZE_BYTES, prot=mmap.PROT_READ) as mapped:
        assert mapped[-1:] == b"x"
    os.close(fd)


def is_missing(file: Path) -> bool:
    try:
        os.stat(file)
    except FileNotFoundError:
        return True
    return False


def times(cost: dict[str, int], count: int) -> dict[str, int]:
    return {name: number * count for name, number in cost.items()}


# What the kernel answers by itself


def test_a_mount_is_asked_once_whether_opens_need_it(stack: Stack) -> None:
    with serving(stack.spec, stack.plan) as daemon:
        for _ in range(2):
            os.listdir(stack.target)
            os.listdir(stack.target / "dir")
            for number in range(FILES):
                open_and_close(stack.target / "dir" / f"file-{number}", os.O_RDWR)
        messages = report(daemon).messages

    # FLUSH is of the first file's close, and refused for good like the OPEN before it.
    assert (messages["open"], messages["opendir"], messages["flush"]) == (1, 1, 1)
    assert messages["release"] == messages["releasedir"] == 0


WARM: dict[str, tuple[Callable[[Path], object], dict[str, int]]] = {
    # name: what is done, and what the first time costs
    "open and close": (lambda top: open_and_close(top / "dir/file-1"), {"lookup": 1}),
    "open to write": (lambda top: open_and_close(top / "dir/file-1", os.O_RDWR), {"lookup": 1}),
    "stat": (lambda top: os.stat(top / "dir" / "file-1"), {"lookup": 1}),
    "a missing name": (lambda top: is_missing(top / "dir" / "missing"), {"lookup": 1}),
    "readlink": (lambda top: os.readlink(top / "link"), {"lookup": 1, "readlink": 1}),
    "read": (lambda top: read(top / "dir" / "file-1"), {"lookup": 1, "read": 1}),
    "seek": (lambda top: seek_to_the_end(top / "dir" / "file-1"), {"lookup": 1}),
}


def seek_to_the_end(file: Path) -> None:
    fd = os.open(file, os.O_RDONLY)
    assert os.lseek(fd, 0, os.SEEK_END) == SIZE_BYTES
    os.close(fd)


@pytest.mark.parametrize(("do", "first"), WARM.values(), ids=WARM)
def test_the_second_time_costs_nothing(
    stack: Stack, daemon: Daemon, do: Callable[[Path], object], first: dict[str, int]
) -> None:
    os.stat(stack.target)  # changed when `new` was made
    with metering(daemon) as cold:
        do(stack.target)
    with metering(daemon) as warm:
        for _ in range(10):
            do(stack.target)

    assert cold == first
    assert warm == {}


def test_a_large_file_is_read_in_large_pieces(stack: Stack) -> None:
    """Root lets the kernel read ahead by 1 MiB, not by its own 128 KiB: one READ for each."""
    (stack.lower / "large").write_bytes(bytes(16 << 20))
    with serving(stack.spec, stack.plan) as daemon, metering(daemon) as spent:
        assert (stack.target / "large").read_bytes() == bytes(16 << 20)

    # The first ones are smaller: the kernel finds out that it is read from end to end.
    assert spent["read"] <= 20


def test_a_mapped_file_is_read_once(stack: Stack, daemon: Daemon) -> None:
    file = stack.target / "dir" / "file-1"
    os.stat(file)
    with metering(daemon) as first:
        map_and_read(file)
    os.stat(file)  # reading changed its atime, for all the kernel knows (fuse_invalidate_atime)
    with metering(daemon) as again:
        map_and_read(file)
        read(file)

    assert first == {"read": 1}
    assert again == {}


def test_a_stat_after_the_first_read_asks_for_the_atime(stack: Stack, daemon: Daemon) -> None:
    read(stack.target / "dir" / "file-1")
    with metering(daemon) as spent:
        for _ in range(10):
            os.stat(stack.target / "dir" / "file-1")

    assert spent == {"getattr": 1}


def test_a_directory_is_listed_once_and_tells_all_of_its_entries(stack: Stack) -> None:
    for number in range(FILES, NAMES):
        (stack.lower / "dir" / f"file-{number}").touch()
    directory = stack.target / "dir"
    with serving(stack.spec, stack.plan) as daemon:
        with metering(daemon) as first:
            found = os.listdir(directory)
        with metering(daemon) as stats:
            for name in found:
                os.stat(directory / name)
        os.stat(directory)  # listing it changed its atime, too
        with metering(daemon) as again:
            assert sorted(os.listdir(directory)) == sorted(found)

    assert len(found) == NAMES
    # 160 bytes each in answers of 32 KiB, as much as the C library asks for, and an empty one.
    answers = NAMES * 160 // 32768 + 2
    assert first == {"getattr": 1, "lookup": 1, "opendir": 1, "readdirplus": answers}
    assert stats == {}
    assert again == {}


@pytest.mark.parametrize("way", ["in a user namespace", "by fusermount3"])
def test_an_ordinary_user_opens_without_messages_too(stack: Stack, way: str) -> None:
    give_to_nobody(stack)
    prefix: Sequence[str | Path] = AS_NOBODY
    plan = stack.plan._replace(allow_other=False)
    if way == "in a user namespace":
        prefix = (*AS_NOBODY, *IN_USER_NAMESPACE)
    with (
        fuse_device_for_everyone(),
        serving(stack.spec, plan, prefix=prefix) as daemon,
    ):
        user: list[str | Path] = [*AS_NOBODY]
        if way == "in a user namespace":
            user = ["nsenter", f"--target={daemon.process.pid}", "--user", "--mount"]
        opening = [*user, sys.executable, "-c", OPEN_ALL, stack.target / "dir"]
        subprocess.run(opening, check=True)
        first = report(daemon).messages
        subprocess.run(opening, check=True)
        with metering(daemon) as warm:
            subprocess.run(opening, check=True)

    assert (first["open"], first["opendir"], first["release"]) == (1, 1, 0)
    # Whoever does not own a file makes the kernel ask for its ACL, and remember that.
    assert first["getxattr"] <= FILES + 1
    assert warm == {}


OPEN_ALL = """
import os, sys
for name in os.listdir(sys.argv[1]):
    os.close(os.open(f"{sys.argv[1]}/{name}", os.O_RDONLY))
"""


# Changes


def test_creating_a_small_file(stack: Stack, daemon: Daemon) -> None:
    with metering(daemon) as spent:
        for number in range(20):
            create(stack.target / "new" / f"file-{number}")

    # Nothing at close: FLUSH is refused for good, and RELEASE needs an OPEN or a CREATE.
    assert spent == times({**CREATING, **ASKING_FOR_CAPABILITIES, "write": 1}, 20)


def test_writing_beside_and_renaming_over(stack: Stack, daemon: Daemon) -> None:
    directory = stack.target / "new"
    create(directory / "file")
    with metering(daemon) as spent:
        for _ in range(40):
            create(directory / "file.tmp")
            os.rename(directory / "file.tmp", directory / "file")

    creating = {**CREATING, **ASKING_FOR_CAPABILITIES, "write": 1}
    # More by the rename: GETATTR of the directory, which the creation changed; LOOKUP of its
    # target, always (LOOKUP_RENAME_TARGET in fuse_dentry_revalidate).
    assert spent == times(creating | {"getattr": 2, "lookup": 2, "rename": 1}, 40)


def test_unpacking_an_archive(stack: Stack, daemon: Daemon) -> None:
    source = stack.base / "source"
    source.mkdir()
    for number in range(20):
        (source / f"file-{number}").write_bytes(b"x" * 512)  # records hold whole files
    archive = stack.base / "archive.tar"
    subprocess.run(["tar", "cf", archive, "-C", source, *os.listdir(source)], check=True)
    with metering(daemon) as spent:
        subprocess.run(["tar", "xf", archive, "-C", stack.target / "new"], check=True)

    # tar(1) sets times, owner and mode, each by a call of its own. chown(2) asks for a capability
    # once more, for it would have to go as well (fs/open.c, chown_common).
    per_file = {**CREATING, "getxattr": 2, "write": 1, "setattr": 3}
    assert spent == times(per_file, 20)


@pytest.mark.parametrize(
    ("change", "cost"),
    [
        (lambda file: os.chmod(file, 0o600), {"setattr": 1}),
        (lambda file: os.utime(file, ns=(1, 1)), {"setattr": 1}),
        (lambda file: os.chown(file, 1, 1), {"getxattr": 1, "setattr": 1}),
        (lambda file: os.truncate(file, 1), {"getxattr": 1, "setattr": 1}),
        (lambda file: os.setxattr(file, "user.x", b""), {"setxattr": 1}),
    ],
    ids=["chmod", "utimens", "chown", "truncate", "setxattr"],
)
def test_a_change_of_attributes_is_one_message(
    stack: Stack, daemon: Daemon, change: Callable[[Path], object], cost: dict[str, int]
) -> None:
    file = stack.target / "dir" / "file-1"
    os.stat(file)
    with metering(daemon) as in_layer:
        change(file)
    # A copy-up gives its directories another ctime, of which the kernel asks once it is told.
    assert wait_until(lambda: _ctimes(stack.target) == _ctimes(stack.upper))
    with metering(daemon) as in_upper:
        for _ in range(5):
            change(file)

    assert in_layer == cost
    assert in_upper == times(cost, 5)


def _ctimes(root: Path) -> list[int]:
    return [path.stat().st_ctime_ns for path in (root, root / "dir")]


def test_appending(stack: Stack, daemon: Daemon) -> None:
    file = stack.target / "dir" / "file-1"
    os.stat(file)
    with metering(daemon) as first:
        append(file)
    assert wait_until(lambda: _ctimes(stack.target) == _ctimes(stack.upper))
    with metering(daemon) as more:
        for _ in range(10):
            append(file)

    assert first == {**ASKING_FOR_CAPABILITIES, "write": 1}
    assert more == {"write": 10}


@pytest.mark.parametrize("where", ["dir", "new"])
def test_unlinking(stack: Stack, daemon: Daemon, where: str) -> None:
    names = [f"file-{number}" for number in range(10)]
    if where == "new":
        for name in names:
            create(stack.target / "new" / name)
    for name in names:
        os.stat(stack.target / where / name)
    with metering(daemon) as spent:
        for name in names:
            os.unlink(stack.target / where / name)

    # Each unlink outdates the directory for the next.
    assert spent.pop("getattr") in (9, 10)
    assert spent == {"unlink": 10}


def test_copying_a_file_moves_no_data_through_the_daemon(stack: Stack, daemon: Daemon) -> None:
    def copy(name: str) -> int:
        source = os.open(stack.target / "dir" / "file-1", os.O_RDONLY)
        target = os.open(stack.target / "new" / name, NEW)
        copied = os.copy_file_range(source, target, 1 << 20)
        os.close(source)
        os.close(target)
        return copied

    copied = copy("one")  # on Linux 6.18 and later, refuses COPY_FILE_RANGE_64 for good
    with metering(daemon) as spent:
        copied += copy("another")

    assert copied == 2 * SIZE_BYTES
    assert spent == {**CREATING, **ASKING_FOR_CAPABILITIES, "copy_file_range": 1}


# Memory


def test_forgotten_nodes_go_away(stack: Stack, daemon: Daemon) -> None:
    before = report(daemon).nodes
    for number in range(FILES):
        read(stack.target / "dir" / f"file-{number}")
    known, descriptors = report(daemon).nodes, open_files(daemon)
    for _ in range(3):
        drop_caches()
    os.stat(stack.target)  # answered after what is forgotten was read
    after, left = report(daemon).nodes, open_files(daemon)

    assert known >= before + FILES - 1
    assert after <= before
    assert left < descriptors - FILES // 2


def drop_caches() -> None:
    with open("/proc/sys/vm/drop_caches", "w") as control:
        control.write("3")


def open_files(daemon: Daemon) -> int:
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def test_an_unlinked_open_file_outlives_memory_pressure(stack: Stack, daemon: Daemon) -> None:
    fds = []
    for path in (stack.target / "dir" / "file-1", stack.target / "new" / "first"):
        fds.append(os.open(path, os.O_RDWR))
        os.unlink(path)
    drop_caches()
    kept = [os.pread(fd, 2 * SIZE_BYTES, 0) for fd in fds]
    for fd in fds:
        os.pwrite(fd, b"changed", 0)
        os.fsync(fd)
    drop_caches()
    changed = [os.pread(fd, 7, 0) for fd in fds]
    links = [os.fstat(fd).st_nlink for fd in fds]
    for fd in fds:
        os.close(fd)

    assert kept == [b"x" * SIZE_BYTES] * 2
    assert changed == [b"changed"] * 2
    assert links == [0, 0]
    assert report(daemon).nodes
