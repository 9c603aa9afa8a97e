"""fsync(2) and its relatives, statvfs(3)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.calls import syncfs
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import refused
from tests.posix.prepared import TEXT
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path


@check()
def a_written_file_is_synced(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.write(descriptor, b"SYNC")
        os.fsync(descriptor)
        os.write(descriptor, b"DATA")
        os.fdatasync(descriptor)
    assert (root / "file").read_bytes() == b"SYNCDATA\n"


@check()
def a_file_open_for_reading_is_synced(root: Path) -> None:
    with opened(root / "file") as descriptor:
        os.fsync(descriptor)
        overwrite(root / "file", b"X")
        os.fsync(descriptor)
        os.fdatasync(descriptor)
        assert os.pread(descriptor, 9, 0) == b"X" + TEXT[1:]


@check()
def a_directory_is_synced(root: Path) -> None:
    for name in ("dir", "empty", "opaque"):
        with opened(root / name, os.O_DIRECTORY) as descriptor:
            os.fsync(descriptor)
            create(root / name / "added")
            os.fsync(descriptor)
            os.fdatasync(descriptor)
            assert "added" in os.listdir(descriptor)


@check()
def an_unlinked_file_is_synced(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.unlink(root / "file")
        os.write(descriptor, b"X")
        os.fsync(descriptor)
        assert os.pread(descriptor, 1, 0) == b"X"


@check()
def a_removed_directory_is_synced(root: Path) -> None:
    with opened(root / "empty", os.O_DIRECTORY) as descriptor:
        os.rmdir(root / "empty")
        os.fsync(descriptor)
        assert os.listdir(descriptor) == []


@check()
def a_fifo_is_not_synced(root: Path) -> None:
    with opened(root / "fifo", os.O_RDWR) as descriptor, refused(errno.EINVAL):
        os.fsync(descriptor)


@check()
def the_whole_filesystem_is_synced(root: Path) -> None:
    overwrite(root / "file", b"X")
    with opened(root) as descriptor:
        syncfs(descriptor)
    assert (root / "file").read_bytes() == b"X" + TEXT[1:]


@check()
def space_and_inodes_add_up(root: Path) -> None:
    found = os.statvfs(root)
    assert found.f_bsize > 0
    assert 0 < found.f_bavail <= found.f_bfree <= found.f_blocks
    assert 0 < found.f_ffree <= found.f_files
    assert not found.f_flag & os.ST_RDONLY


@check()
def every_object_tells_of_the_same_filesystem(root: Path) -> None:
    wanted = os.statvfs(root)
    for name in ("file", "dir", "dir/sub/deep", "null"):
        found = os.statvfs(root / name)
        assert (found.f_blocks, found.f_bsize, found.f_namemax) == (
            wanted.f_blocks, wanted.f_bsize, wanted.f_namemax,
        )  # fmt: skip
    with opened(root / "file") as descriptor:
        assert os.fstatvfs(descriptor).f_blocks == wanted.f_blocks


@check()
def a_file_that_takes_space_is_counted(root: Path) -> None:
    before = os.statvfs(root)
    with opened(root / "new", os.O_CREAT | os.O_WRONLY) as descriptor:
        for _ in range(16):
            os.write(descriptor, b"x" * (1 << 20))
        os.fsync(descriptor)
    taken = os.lstat(root / "new").st_blocks * 512
    assert taken >= 16 << 20
    # Others on the same disk take and give back space too: only the order of size is ours to say.
    after = os.statvfs(root)
    assert after.f_bfree * after.f_frsize < before.f_bfree * before.f_frsize + (1 << 30)
