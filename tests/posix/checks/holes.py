"""Sparse files, space that is set aside, and files without a name."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from typing import TYPE_CHECKING

from tests.posix.calls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import names, refused
from tests.posix.prepared import BIG, TEXT
from tests.posix.registry import check
from tests.support.trees import File

if TYPE_CHECKING:
    from pathlib import Path

_FS_IOC_GETFLAGS = 0x80086601  # linux/fs.h
_MIB = 1 << 20
_COARSE = 2 * _MIB  # kernel overlayfs copies up in pieces of 1 MiB, each all data or all hole
_SPARSE = {"sparse": File(b"head", size=8 * _MIB)}


def _blocks(path: Path) -> int:
    """Bytes that the file takes on disk."""
    return os.lstat(path).st_blocks * 512


@check(extra=_SPARSE)
def a_hole_takes_no_space_and_reads_as_zeros(root: Path) -> None:
    assert _blocks(root / "sparse") < _MIB
    with opened(root / "sparse") as descriptor:
        assert os.pread(descriptor, _MIB, 4 * _MIB) == bytes(_MIB)
        assert os.pread(descriptor, 6, 0) == b"head\0\0"


@check(extra=_SPARSE)
def a_hole_survives_a_change_of_mode(root: Path) -> None:
    os.chmod(root / "sparse", 0o600)
    assert os.lstat(root / "sparse").st_size == 8 * _MIB
    assert _blocks(root / "sparse") < _COARSE


@check(extra=_SPARSE)
def a_hole_survives_a_write_elsewhere(root: Path) -> None:
    overwrite(root / "sparse", b"middle", 5 * _MIB)
    assert _blocks(root / "sparse") < _COARSE
    with opened(root / "sparse") as descriptor:
        assert os.pread(descriptor, 4, 0) == b"head"
        assert os.pread(descriptor, 8, 5 * _MIB - 1) == b"\0middle\0"


@check()
def a_write_far_out_takes_little_space(root: Path) -> None:
    with opened(root / "new", os.O_CREAT | os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, b"far", 1 << 32)
    assert os.lstat(root / "new").st_size == (1 << 32) + 3
    assert _blocks(root / "new") < _MIB
    with opened(root / "new") as descriptor:
        assert os.pread(descriptor, 5, (1 << 32) - 2) == b"\0\0far"


@check(needs="seek_hole", extra=_SPARSE)
def holes_and_data_are_told_apart(root: Path) -> None:
    with opened(root / "sparse", os.O_RDWR) as descriptor:
        hole = os.lseek(descriptor, 0, os.SEEK_HOLE)
        assert 4 <= hole < _COARSE
        with refused(errno.ENXIO):
            os.lseek(descriptor, hole, os.SEEK_DATA)
        os.pwrite(descriptor, b"data", 4 * _MIB)
        assert _COARSE < os.lseek(descriptor, hole, os.SEEK_DATA) <= 4 * _MIB
        assert os.lseek(descriptor, 4 * _MIB, os.SEEK_HOLE) < 5 * _MIB


@check()
def what_is_called_a_hole_holds_zeros(root: Path) -> None:
    with opened(root / "big") as descriptor:
        assert os.lseek(descriptor, 0, os.SEEK_DATA) == 0
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == len(BIG)
        for whence in (os.SEEK_DATA, os.SEEK_HOLE):
            with refused(errno.ENXIO):
                os.lseek(descriptor, len(BIG), whence)


@check(needs="fallocate")
def space_set_aside_extends_the_file(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        fallocate(descriptor, 0, 0, _MIB)
        assert os.fstat(descriptor).st_size == _MIB
        assert os.pread(descriptor, 100, 0) == TEXT.ljust(100, b"\0")
    assert _blocks(root / "file") >= _MIB


@check(needs="fallocate")
def space_set_aside_beyond_the_end_keeps_the_size(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        fallocate(descriptor, FALLOC_FL_KEEP_SIZE, 0, _MIB)
        assert os.fstat(descriptor).st_size == len(TEXT)


@check(needs="fallocate")
def a_punched_hole_reads_as_zeros(root: Path) -> None:
    with opened(root / "big", os.O_RDWR) as descriptor:
        fallocate(descriptor, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 8192, 16384)
        assert os.pread(descriptor, len(BIG), 0) == BIG[:8192] + bytes(16384) + BIG[24576:]


@check()
def libc_sets_space_aside_on_its_own_where_it_must(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.posix_fallocate(descriptor, 0, 10_000)
    assert (root / "file").read_bytes() == TEXT.ljust(10_000, b"\0")


@check(needs="tmpfile")
def a_file_without_a_name_is_given_one(root: Path) -> None:
    with opened(root / "dir", os.O_TMPFILE | os.O_RDWR, 0o640) as descriptor:
        assert os.fstat(descriptor).st_nlink == 0
        os.write(descriptor, b"now seen")
        assert names(root / "dir") == {"a", "b", "sub"}
        with opened(root) as directory:
            source = f"/proc/self/fd/{descriptor}"
            os.link(source, "new", src_dir_fd=directory, dst_dir_fd=directory)
        assert os.fstat(descriptor).st_nlink == 1
    assert (root / "new").read_bytes() == b"now seen"


@check(needs="tmpfile")
def an_exclusive_file_without_a_name_gets_none(root: Path) -> None:
    flags = os.O_TMPFILE | os.O_RDWR | os.O_EXCL
    with opened(root, flags) as descriptor, opened(root) as directory, refused(errno.ENOENT):
        source = f"/proc/self/fd/{descriptor}"
        os.link(source, "new", src_dir_fd=directory, dst_dir_fd=directory)


@check(needs="ioctl")
def inode_flags_are_read(root: Path) -> None:
    with opened(root / "file") as descriptor:
        raw = fcntl.ioctl(descriptor, _FS_IOC_GETFLAGS, bytes(8))
    assert len(raw) == 8
    assert struct.unpack("q", raw)[0] >= 0


@check()
def a_file_filled_in_backwards_is_whole(root: Path) -> None:
    create(root / "new")
    with opened(root / "new", os.O_WRONLY) as descriptor:
        for offset in range(len(BIG) - 4096, -1, -4096):
            os.pwrite(descriptor, BIG[offset : offset + 4096], offset)
    assert (root / "new").read_bytes() == BIG


@check(needs="seek_hole")
def seeking_from_outside_the_file_finds_nothing(root: Path) -> None:
    with opened(root / "new", os.O_CREAT | os.O_RDWR) as descriptor:
        os.ftruncate(descriptor, _MIB)
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == 0
    for name in ("file", "big", "new"):
        with opened(root / name) as descriptor:
            size = os.fstat(descriptor).st_size
            for offset in (-1, -size, -(2**63), size, 2**62, 2**63 - 1):
                for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                    with refused(errno.ENXIO):
                        os.lseek(descriptor, offset, whence)
