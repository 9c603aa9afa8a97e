"""Answers as the kernel reads them: sizes and places of struct fuse_*_out."""

from __future__ import annotations

import os
import stat
import struct

import pytest

from overlayfs_py.layers.values import Attributes
from overlayfs_py.wire import replies

FOUND = Attributes(
    ino=42,
    mode=stat.S_IFREG | 0o4755,
    nlink=2,
    uid=1000,
    gid=100,
    rdev=0,
    size=12345,
    blocks=32,
    blksize=4096,
    atime_ns=1_000_000_001,
    mtime_ns=-1,
    ctime_ns=3_000_000_003,
)


def test_header() -> None:
    assert replies.answer(9, b"ab") == struct.pack("=IiQ", 18, 0, 9) + b"ab"
    assert replies.failure(9, 2) == struct.pack("=IiQ", 16, -2, 9)
    assert replies.head(9, 4) == struct.pack("=IiQ", 20, 0, 9)


def test_entry() -> None:
    entry = replies.entry(42, FOUND, 60)
    assert len(entry) == 128
    assert struct.unpack_from("=QQQQII", entry) == (42, 0, 60, 60, 0, 0)
    ino, size, blocks, atime, mtime, ctime = struct.unpack_from("=QQQqqq", entry, 40)
    assert (ino, size, blocks, atime, mtime, ctime) == (42, 12345, 32, 1, -1, 3)
    assert struct.unpack_from("=IIIIIIIIII", entry, 88) == (
        *(1, 999_999_999, 3),  # nanoseconds
        *(FOUND.mode, 2, 1000, 100, 0, 4096, 0),
    )


def test_absence_is_an_entry_without_a_node() -> None:
    assert len(replies.ABSENT) == 128
    node, _, entry_valid, attr_valid = struct.unpack_from("=QQQQ", replies.ABSENT)
    assert (node, attr_valid) == (0, 0)
    assert entry_valid == replies.NEVER


def test_attributes() -> None:
    out = replies.attributes(FOUND, 5)
    assert len(out) == 104
    assert struct.unpack_from("=QIIQQ", out) == (5, 0, 0, 42, 12345)


@pytest.mark.parametrize("name", [b"x", b"1234567", b"12345678", b"a" * 255])
def test_directory_entries_are_padded(name) -> None:
    entry = replies.directory_entry(7, 99, stat.S_IFDIR | 0o755, name)
    assert len(entry) % 8 == 0
    assert struct.unpack_from("=QQII", entry) == (7, 99, len(name), 4)  # DT_DIR
    assert entry[24 : 24 + len(name)] == name


def test_statx_has_a_time_of_birth() -> None:
    out = replies.statx(FOUND, 7_000_000_008, 1)
    assert len(out) == 32 + 256
    assert struct.unpack_from("=I", out, 32)[0] & replies.STATX_BTIME
    btime = 32 + 4 + 4 + 8 + 4 * 3 + 4 + 8 * 4 + 16
    assert struct.unpack_from("=qI", out, btime) == (7, 8)
    without = replies.statx(FOUND, None, 1)
    assert not struct.unpack_from("=I", without, 32)[0] & replies.STATX_BTIME


def test_statistics_fit_the_kernel_struct() -> None:
    assert len(replies.statistics(os.statvfs("/"))) == 80


@pytest.mark.parametrize("device", [(8, 1), (259, 70000)])
def test_device_numbers(device) -> None:
    major, minor = device
    encoded = replies.encode_device(os.makedev(major, minor))
    assert (encoded >> 8 & 0xFFF, encoded & 0xFF | encoded >> 12 & 0xFFF00) == device
