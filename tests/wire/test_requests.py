"""Requests as the kernel sends them, byte by byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.wire import requests
from overlayfs_py.wire.errors import WireError
from overlayfs_py.wire.protocol import Opcode
from overlayfs_py.wire.requests import HEADER_SIZE, Features


def message(opcode: int, body: bytes, *, node: int = 7, extension: int = 0) -> bytes:
    """A message with the header that the kernel would give it."""
    return (
        struct.pack("=I", 40 + len(body))  # len
        + struct.pack("=I", opcode)
        + struct.pack("=Q", 0x1234)  # unique
        + struct.pack("=Q", node)
        + struct.pack("=III", 1000, 100, 4321)  # uid, gid, pid
        + struct.pack("=HH", extension, 0)  # total_extlen, padding
        + body
    )


def parsed(opcode: int, body: bytes, features: Features = Features()) -> requests.Body | None:  # noqa: B008
    whole = memoryview(message(opcode, body))
    header = requests.parse_header(whole)
    assert header.opcode == opcode
    return requests.parse_body(opcode, whole[HEADER_SIZE:], features)


def test_header() -> None:
    header = requests.parse_header(memoryview(message(Opcode.GETATTR, b"")))
    assert header == (40, Opcode.GETATTR, 0x1234, 7, 1000, 100, 4321)


@pytest.mark.parametrize(
    ("opcode", "body", "expected"),
    [
        (Opcode.LOOKUP, b"name\0", requests.Named(b"name")),
        (Opcode.UNLINK, b"\xff\xfe\0", requests.Named(b"\xff\xfe")),
        (Opcode.FORGET, struct.pack("=Q", 3), requests.Forgotten([(0, 3)])),
        (
            Opcode.BATCH_FORGET,
            struct.pack("=IIQQQQ", 2, 0, 5, 1, 6, 9),
            requests.Forgotten([(5, 1), (6, 9)]),
        ),
        (
            Opcode.MKDIR,
            struct.pack("=II", 0o755, 0o022) + b"d\0",
            requests.Mknod(b"d", 0o755, 0, 0o022),
        ),
        (
            Opcode.RENAME2,
            struct.pack("=QII", 9, 2, 0) + b"old\0new\0",
            requests.Rename(9, 2, b"old", b"new"),
        ),
        (Opcode.RENAME, struct.pack("=Q", 9) + b"a\0b\0", requests.Rename(9, 0, b"a", b"b")),
        (Opcode.SYMLINK, b"link\0target\0", requests.Symlink(b"link", b"target")),
        (Opcode.LINK, struct.pack("=Q", 3) + b"x\0", requests.Link(3, b"x")),
        (
            Opcode.READ,
            # fh, offset, size, read_flags, lock_owner, flags, padding
            struct.pack("=QQIIQII", 0, 4096, 512, 0, 0, 0o100000, 0),
            requests.Read(0, 4096, 512),
        ),
        (
            Opcode.GETXATTR,
            struct.pack("=II", 64, 0) + b"user.a\0",
            requests.Getxattr(64, b"user.a"),
        ),
        (Opcode.LISTXATTR, struct.pack("=II", 0, 0), requests.Getxattr(0, b"")),
        (Opcode.INTERRUPT, struct.pack("=Q", 0x99), requests.Interrupt(0x99)),
        (
            Opcode.FALLOCATE,
            struct.pack("=QQQII", 0, 1, 2, 3, 0),
            requests.Fallocate(1, 2, 3),
        ),
        (Opcode.LSEEK, struct.pack("=QQII", 0, 10, 3, 0), requests.Lseek(10, 3)),
        (Opcode.LSEEK, struct.pack("=QqII", 0, -(2**63), 4, 0), requests.Lseek(-(2**63), 4)),
        (
            Opcode.COPY_FILE_RANGE,
            struct.pack("=QQQQQQQ", 0, 1, 2, 0, 3, 4, 0),
            requests.CopyFileRange(1, 2, 3, 4),
        ),
        (
            Opcode.CREATE,
            struct.pack("=IIII", 0o102, 0o100644, 0o022, 0) + b"f\0",
            requests.Create(b"f", 0o102, 0o100644, 0o022),
        ),
        (Opcode.GETATTR, struct.pack("=IIQ", 0, 0, 0), requests.Empty()),
    ],
)
def test_body(opcode, body, expected) -> None:
    assert parsed(opcode, body) == expected


def test_setattr_reads_times_before_1970() -> None:
    body = struct.pack(
        "=IIQQQQQQIIIIIIII",
        (1 << 4) | (1 << 5),  # valid: ATIME, MTIME
        0,  # padding
        0,  # fh
        77,  # size
        0,  # lock_owner
        (1 << 64) - 2,  # atime: two seconds before the epoch
        5,  # mtime
        0,  # ctime
        250,  # atimensec
        6,  # mtimensec
        0,  # ctimensec
        0o644,  # mode
        0,
        1000,  # uid
        1001,  # gid
        0,
    )
    expected = requests.Setattr(0x30, 77, -2_000_000_000 + 250, 5_000_000_006, 0o644, 1000, 1001)
    assert parsed(Opcode.SETATTR, body) == expected


def test_write_data_is_not_copied() -> None:
    body = struct.pack("=QQIIQII", 0, 8, 3, 4, 0, 0, 0) + b"abc"
    write = parsed(Opcode.WRITE, body)
    assert isinstance(write, requests.Write)
    assert (write.offset, write.flags, bytes(write.data)) == (8, 4, b"abc")
    assert isinstance(write.data, memoryview)


@pytest.mark.parametrize(
    ("extended", "head", "extra"),
    [(True, struct.pack("=IIII", 2, 1, 1, 0), 1), (False, struct.pack("=II", 2, 1), 0)],
)
def test_setxattr_in_both_layouts(extended, head, extra) -> None:
    found = parsed(Opcode.SETXATTR, head + b"user.x\0" + b"\0v", Features(setxattr_ext=extended))
    assert found == requests.Setxattr(b"user.x", b"\0v", 1, extra)


@pytest.mark.parametrize("device", [(0, 0), (1, 3), (259, 70000), (4095, 255)])
def test_mknod_device_numbers(device) -> None:
    import os

    major, minor = device
    packed = (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)  # new_encode_dev
    body = struct.pack("=IIII", 0o020600, packed, 0, 0) + b"dev\0"
    node = parsed(Opcode.MKNOD, body)
    assert isinstance(node, requests.Mknod)
    assert (os.major(node.rdev), os.minor(node.rdev)) == device


def test_init_joins_both_words_of_flags() -> None:
    flags = (1 << 30) | 1
    init = parsed(Opcode.INIT, struct.pack("=IIIII44x", 7, 45, 131072, flags, 1 << 5))
    assert init == requests.Init(7, 45, 131072, flags | 1 << 37)


def test_unknown_opcode_has_no_body() -> None:
    assert parsed(999, b"whatever") is None


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0" * 39,
        message(Opcode.GETATTR, b"")[:-1] + b"xx",  # longer than it says
    ],
)
def test_broken_header(broken) -> None:
    with pytest.raises(WireError):
        requests.parse_header(memoryview(broken))


@pytest.mark.parametrize(
    ("opcode", "body"),
    [
        (Opcode.LOOKUP, b"no terminator"),
        (Opcode.RENAME2, struct.pack("=QII", 1, 0, 0) + b"one\0"),
        (Opcode.WRITE, struct.pack("=QQIIQII", 0, 0, 10, 0, 0, 0, 0) + b"short"),
        (Opcode.BATCH_FORGET, struct.pack("=II", 1000, 0)),
        (Opcode.SETXATTR, struct.pack("=IIII", 9, 0, 0, 0) + b"user.x\0v"),
    ],
)
def test_broken_body(opcode, body) -> None:
    with pytest.raises(WireError, match=str(int(opcode))):
        parsed(opcode, body)


@given(opcode=st.sampled_from(list(Opcode)), body=st.binary(max_size=200))
def test_arbitrary_bodies_are_read_or_refused(opcode, body) -> None:
    try:
        found = parsed(opcode, body)
    except WireError:
        return
    assert found is None or isinstance(found, tuple)


@given(st.binary(max_size=100))
def test_arbitrary_messages_are_read_or_refused(data) -> None:
    try:
        header = requests.parse_header(memoryview(data))
    except WireError:
        return
    assert header.length == len(data)
