"""atime, mtime and ctime: who moves them and who does not."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import struct
import time
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.files import FS_IOC_GETFLAGS, FS_IOC_SETFLAGS
from tests.posix.calls import UTIME_NOW, UTIME_OMIT, set_times
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import advanced, refused, unchanged, wait_for_tick
from tests.posix.prepared import MTIME_NS, TEXT, VISIBLE
from tests.posix.processes import ALICE, BOB, as_user
from tests.posix.registry import check
from tests.support.trees import HardLink

if TYPE_CHECKING:
    from pathlib import Path

_BOTH = ("st_mtime_ns", "st_ctime_ns")
_SECOND = 1_000_000_000
# linux/fs.h: flags of an inode, and what they are called in struct fsxattr.
_NODUMP, _NOATIME = 0x40, 0x80
_XFLAG_NODUMP, _XFLAG_NOATIME = 0x80, 0x40
_FSGETXATTR, _FSSETXATTR = 0x801C581F, 0x401C5820


@check()
def a_write_moves_mtime_and_ctime(root: Path) -> None:
    with advanced(root / "file", *_BOTH):
        overwrite(root / "file", b"x")


@check()
def every_later_write_moves_them_on(root: Path) -> None:
    create(root / "new")
    with opened(root / "new", os.O_WRONLY) as descriptor:
        for _ in range(3):
            with advanced(root / "new", *_BOTH):
                os.write(descriptor, b"x")


@check()
def opening_for_writing_moves_nothing(root: Path) -> None:
    with unchanged(root / "file", "st_mtime_ns"), opened(root / "file", os.O_RDWR):
        pass


@check()
def an_empty_write_moves_nothing(root: Path) -> None:
    with unchanged(root / "file", "st_mtime_ns"):
        overwrite(root / "file", b"")


@check()
def reading_moves_no_mtime_and_no_ctime(root: Path) -> None:
    with unchanged(root / "file", *_BOTH), unchanged(root / "dir", *_BOTH):
        (root / "file").read_bytes()
        os.listdir(root / "dir")


@check()
def truncation_at_open_moves_mtime(root: Path) -> None:
    with advanced(root / "file", *_BOTH), opened(root / "file", os.O_WRONLY | os.O_TRUNC):
        pass
    with advanced(root / "file", *_BOTH), opened(root / "file", os.O_WRONLY | os.O_TRUNC):
        pass


@check()
def changes_of_attributes_move_ctime_alone(root: Path) -> None:
    path = root / "file"
    for change in (
        lambda: os.chmod(path, 0o600),
        lambda: os.chown(path, 3, 4),
        lambda: os.setxattr(path, "user.x", b"1"),
        lambda: os.removexattr(path, "user.x"),
        lambda: os.link(path, root / "other"),
        lambda: os.unlink(root / "other"),
    ):
        with unchanged(path, "st_mtime_ns"), advanced(path, "st_ctime_ns"):
            change()


@check()
def changes_of_a_directorys_attributes_move_ctime_alone(root: Path) -> None:
    for change in (
        lambda: os.chmod(root / "dir", 0o700),
        lambda: os.chown(root / "dir", 3, 4),
        lambda: os.setxattr(root / "dir", "user.x", b"1"),
    ):
        with unchanged(root / "dir", "st_mtime_ns"), advanced(root / "dir", "st_ctime_ns"):
            change()


@check()
def new_names_move_the_times_of_their_directory(root: Path) -> None:
    directory = root / "dir"
    for make in (
        lambda: create(directory / "file"),
        lambda: os.mkdir(directory / "dir"),
        lambda: os.symlink("x", directory / "link"),
        lambda: os.mkfifo(directory / "fifo"),
        lambda: os.link(root / "file", directory / "hard"),
        lambda: os.rename(root / "big", directory / "big"),
    ):
        with advanced(directory, *_BOTH):
            make()


@check()
def lost_names_move_the_times_of_their_directory(root: Path) -> None:
    for lose in (
        lambda: os.unlink(root / "file"),
        lambda: os.unlink(root / "link"),
        lambda: os.rmdir(root / "empty"),
        lambda: os.rename(root / "dir", root / "full/dir"),
        lambda: os.rename(root / "fifo", root / "null"),
    ):
        with advanced(root, *_BOTH):
            lose()


@check()
def a_rename_moves_the_times_of_both_directories(root: Path) -> None:
    with advanced(root / "dir", *_BOTH), advanced(root / "full", *_BOTH):
        os.rename(root / "dir/a", root / "full/a")


@check()
def a_change_within_moves_no_mtime_further_up(root: Path) -> None:
    with unchanged(root, "st_mtime_ns"), unchanged(root / "dir", "st_mtime_ns"):
        create(root / "dir/sub/new")
        os.unlink(root / "dir/sub/deep")


@check()
def a_change_within_moves_no_ctime_further_up(root: Path) -> None:
    with unchanged(root, "st_ctime_ns"), unchanged(root / "dir", "st_ctime_ns"):
        create(root / "dir/sub/new")


@check()
def a_change_of_a_file_moves_no_mtime_of_its_directories(root: Path) -> None:
    with (
        unchanged(root, "st_mtime_ns"),
        unchanged(root / "dir", "st_mtime_ns"),
        unchanged(root / "dir/sub", "st_mtime_ns"),
    ):
        overwrite(root / "dir/sub/deep", b"x")
        os.chmod(root / "dir/sub/deep", 0o600)
        os.setxattr(root / "dir/sub/deep", "user.x", b"1")


@check()
def a_failed_change_moves_no_time(root: Path) -> None:
    with unchanged(root, *_BOTH):
        with refused(errno.EEXIST):
            os.mkdir(root / "dir")
        with refused(errno.ENOENT):
            os.unlink(root / "gone")
        with refused(errno.ENOTEMPTY):
            os.rmdir(root / "dir")


@check()
def new_objects_carry_the_time_of_now(root: Path) -> None:
    before = time.clock_gettime_ns(5)  # CLOCK_REALTIME_COARSE, with which filesystems stamp
    create(root / "new")
    os.mkdir(root / "newdir")
    os.symlink("x", root / "newlink")
    wait_for_tick()
    now = time.time_ns()
    for name in ("new", "newdir", "newlink"):
        found = os.lstat(root / name)
        for moment in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns):
            assert before <= moment <= now, name


@check()
def times_are_set_to_the_nanosecond(root: Path) -> None:
    atime, mtime = 1_111_111_111_111_111_111, 1_222_222_222_999_999_999
    for name, node in VISIBLE.items():
        if isinstance(node, HardLink):
            continue
        with advanced(root / name, "st_ctime_ns"):
            os.utime(root / name, ns=(atime, mtime), follow_symlinks=False)
        found = os.lstat(root / name)
        assert (found.st_atime_ns, found.st_mtime_ns) == (atime, mtime), name


@check()
def times_before_1970_and_after_2038_are_kept(root: Path) -> None:
    for seconds in (-1, -1_000_000_000, 0, 2**31, 2**32 + 5, 7_000_000_000):
        moment = seconds * _SECOND + 7
        os.utime(root / "file", ns=(moment, moment))
        found = os.lstat(root / "file")
        assert (found.st_atime_ns, found.st_mtime_ns) == (moment, moment), seconds


@check()
def omitted_times_stay(root: Path) -> None:
    os.utime(root / "file", ns=(5, 6))
    set_times(root / "file", (0, UTIME_OMIT), (70, 7))
    assert os.lstat(root / "file").st_atime_ns == 5
    assert os.lstat(root / "file").st_mtime_ns == 70 * _SECOND + 7
    set_times(root / "file", (80, 8), (0, UTIME_OMIT))
    assert os.lstat(root / "file").st_atime_ns == 80 * _SECOND + 8
    assert os.lstat(root / "file").st_mtime_ns == 70 * _SECOND + 7
    with unchanged(root / "file", "st_atime_ns", *_BOTH):
        set_times(root / "file", (0, UTIME_OMIT), (0, UTIME_OMIT))


@check()
def now_is_now(root: Path) -> None:
    before = time.clock_gettime_ns(5)
    set_times(root / "file", (0, UTIME_OMIT), (0, UTIME_NOW))
    found = os.lstat(root / "file")
    assert before <= found.st_mtime_ns
    assert found.st_atime_ns < before
    set_times(root / "dir", (0, UTIME_NOW), (0, UTIME_OMIT))
    assert os.lstat(root / "dir").st_atime_ns >= before
    assert os.lstat(root / "dir").st_mtime_ns == MTIME_NS


@check()
def times_set_on_an_open_file_survive_its_close(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.write(descriptor, b"x")
        os.utime(descriptor, ns=(5, 6))
    assert os.lstat(root / "file").st_mtime_ns == 6


@check()
def times_set_by_name_survive_the_close_of_a_writer(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.write(descriptor, b"x")
        os.utime(root / "file", ns=(5, 6))
        os.fsync(descriptor)
    assert os.lstat(root / "file").st_mtime_ns == 6


@check()
def attributes_changed_later_leave_the_set_times(root: Path) -> None:
    os.utime(root / "file", ns=(5, 6))
    os.chmod(root / "file", 0o600)
    os.chown(root / "file", 1, 2)
    os.rename(root / "file", root / "new")
    assert os.lstat(root / "new").st_mtime_ns == 6


@check()
def a_directorys_set_times_survive_work_below_it(root: Path) -> None:
    os.utime(root / "dir", ns=(5, 6))
    create(root / "dir/sub/new")
    overwrite(root / "dir/a", b"x")
    assert os.lstat(root / "dir").st_mtime_ns == 6


@check()
def a_read_from_the_disk_moves_an_old_atime(root: Path) -> None:
    create(root / "new", TEXT)
    os.mkdir(root / "list")
    create(root / "list/a")
    for path, read in ((root / "new", _read_from_disk), (root / "list", _list)):
        os.utime(path, ns=(5, 6))
        wait_for_tick()
        read(path)
        moved = os.lstat(path).st_atime_ns
        assert moved > 6
        # Like relatime: an atime that is younger than the last change stays for a day.
        read(path)
        assert os.lstat(path).st_atime_ns == moved


def _read_from_disk(path: Path) -> None:
    with opened(path) as descriptor:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        assert os.read(descriptor, 2 * len(TEXT)) == TEXT


def _list(path: Path) -> None:
    assert os.listdir(path) == ["a"]


@check()
def reading_moves_atime_not_back(root: Path) -> None:
    before = os.lstat(root / "file").st_atime_ns
    assert (root / "file").read_bytes() == TEXT
    assert before <= os.lstat(root / "file").st_atime_ns <= time.time_ns()


@check()
def a_write_through_a_mapping_moves_mtime(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        mapped = mmap.mmap(descriptor, len(TEXT))
    with advanced(root / "file", *_BOTH):
        mapped[0:1] = b"X"
        mapped.flush()
        mapped.close()


@check()
def who_may_write_may_set_times_to_now_only(root: Path) -> None:
    path = root / "sticky/bobs"
    with advanced(path, *_BOTH):
        as_user(lambda: os.utime(path), ALICE)
    with refused(errno.EPERM):
        as_user(lambda: os.utime(path, ns=(1, 2)), ALICE)
    as_user(lambda: os.utime(path, ns=(1, 2)), BOB)
    assert os.lstat(path).st_mtime_ns == 2


@check()
def who_may_not_write_may_not_touch_times(root: Path) -> None:
    with refused(errno.EACCES):
        as_user(lambda: os.utime(root / "file"))
    with refused(errno.EPERM):
        as_user(lambda: os.utime(root / "file", ns=(1, 2)))
    assert os.lstat(root / "file").st_mtime_ns == MTIME_NS


@check(needs="ioctl")
def changes_of_flags_move_ctime_alone(root: Path) -> None:
    for name in ("file", "dir"):
        with opened(root / name) as descriptor:
            for flags in (_NODUMP, 0):
                with unchanged(root / name, "st_mtime_ns"), advanced(root / name, "st_ctime_ns"):
                    fcntl.ioctl(descriptor, FS_IOC_SETFLAGS, struct.pack("=Q", flags))


@check(needs="ioctl")
def extended_flags_are_the_same_flags(root: Path) -> None:
    for name in ("file", "dir"):
        with opened(root / name) as descriptor:
            for flags, plain in ((_XFLAG_NODUMP | _XFLAG_NOATIME, _NODUMP | _NOATIME), (0, 0)):
                with advanced(root / name, "st_ctime_ns"):
                    fcntl.ioctl(descriptor, _FSSETXATTR, struct.pack("=I24x", flags))
                shown = fcntl.ioctl(descriptor, FS_IOC_GETFLAGS, bytes(8))
                assert struct.unpack("=Q", shown)[0] & (_NODUMP | _NOATIME) == plain
                extended = fcntl.ioctl(descriptor, _FSGETXATTR, bytes(28))
                assert struct.unpack_from("=I", extended)[0] & 0xFFFF == flags
