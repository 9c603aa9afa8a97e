"""truncate(2) and ftruncate(2)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened
from tests.posix.expecting import advanced, mode_of, refused, unchanged
from tests.posix.prepared import BIG, TEXT
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path


@check()
def a_cut_file_ends_there(root: Path) -> None:
    os.truncate(root / "big", 100_000)
    assert (root / "big").read_bytes() == BIG[:100_000]


@check()
def a_file_cut_and_grown_again_has_zeros(root: Path) -> None:
    with opened(root / "big", os.O_RDWR) as descriptor:
        os.ftruncate(descriptor, 5001)
        os.ftruncate(descriptor, 9000)
        assert os.pread(descriptor, 10_000, 5000) == BIG[5000:5001] + bytes(3999)


@check()
def growth_adds_zeros_and_no_blocks(root: Path) -> None:
    os.truncate(root / "file", 4 << 20)
    found = os.lstat(root / "file")
    assert found.st_size == 4 << 20
    assert found.st_blocks * 512 < 1 << 20
    assert (root / "file").read_bytes() == TEXT.ljust(4 << 20, b"\0")


@check()
def truncation_keeps_mode_and_xattrs(root: Path) -> None:
    os.truncate(root / "attrs", 3)
    assert mode_of(root / "attrs") == 0o640
    assert os.getxattr(root / "attrs", "trusted.secret") == b"\0s\xff"
    assert (root / "attrs").read_bytes() == TEXT[:3]


@check()
def truncation_moves_mtime_and_ctime(root: Path) -> None:
    with advanced(root / "file", "st_mtime_ns", "st_ctime_ns"):
        os.truncate(root / "file", 1)


@check()
def a_descriptor_for_reading_cannot_truncate(root: Path) -> None:
    with opened(root / "file") as descriptor, refused(errno.EINVAL, errno.EBADF):
        os.ftruncate(descriptor, 0)
    assert (root / "file").read_bytes() == TEXT


@check()
def a_negative_length_is_refused(root: Path) -> None:
    with refused(errno.EINVAL):
        os.truncate(root / "file", -1)


@check()
def only_files_are_truncated(root: Path) -> None:
    with refused(errno.EISDIR):
        os.truncate(root / "dir", 0)
    with refused(errno.EINVAL):
        os.truncate(root / "fifo", 0)
    with refused(errno.ENOENT):
        os.truncate(root / "gone", 0)
    with refused(errno.ENOTDIR):
        os.truncate(root / "file" / "x", 0)


@check()
def truncation_follows_a_symlink(root: Path) -> None:
    with unchanged(root / "link", "st_size", "st_mtime_ns"):
        os.truncate(root / "link", 2)
    assert os.lstat(root / "file").st_size == 2


@check()
def an_open_descriptor_sees_the_cut(root: Path) -> None:
    create(root / "new", b"0123456789")
    with opened(root / "new") as reader:
        assert os.read(reader, 2) == b"01"
        os.truncate(root / "new", 4)
        assert os.read(reader, 10) == b"23"
        assert os.fstat(reader).st_size == 4


@check()
def a_write_after_the_cut_starts_at_the_old_offset(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.write(descriptor, b"abcd")
        os.ftruncate(descriptor, 0)
        os.write(descriptor, b"e")
    assert (root / "file").read_bytes() == b"\0\0\0\0e"
