"""Writing answers: the header, and by request what follows it."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.layers.values import Attributes

_HEADER = struct.Struct("=IiQ")
_ATTR = "QQQQQQIIIIIIIIII"
_ENTRY = struct.Struct("=QQQQII" + _ATTR)
ENTRY_SIZE = _ENTRY.size
_ATTR_OUT = struct.Struct("=QII" + _ATTR)
_OPEN = struct.Struct("=QII")
_WRITE = struct.Struct("=II")
_LONG = struct.Struct("=Q")
_INVAL_INODE = struct.Struct("=Qqq")
_NOTIFY_INVAL_INODE = 2
_INVAL_ENTRY = struct.Struct("=QII")
_NOTIFY_INVAL_ENTRY = 3
_STATFS = struct.Struct("=QQQQQIIII24x")
_DIRENT = struct.Struct("=QQII")
_LISTED = struct.Struct("=QQQQII" + _ATTR + "QQII")
_TYPE_MASK = 0o170000
_PADDING = tuple(bytes(-length % 8) for length in range(8))  # by the length of what is padded
_IOCTL = struct.Struct("=iIII")
_STATX_HEAD = struct.Struct("=QII16x")
_STATX = struct.Struct("=IIQIIIH2xQQQQqI4xqI4xqI4xqI4xIIII112x")

_BILLION = 1_000_000_000
_WORD_MASK = 0xFFFFFFFF
_LONG_MASK = 0xFFFFFFFFFFFFFFFF

NEVER = 1 << 40  # seconds: an answer that stays true until the daemon changes it
_STATX_BASIC = 0x7FF
STATX_BTIME = 0x800


def answer(unique: int, payload: bytes) -> bytes:
    """A whole successful answer."""
    return _HEADER.pack(_HEADER.size + len(payload), 0, unique) + payload


def head(unique: int, length: int) -> bytes:
    """The header of an answer whose payload of `length` bytes is written beside it."""
    return _HEADER.pack(_HEADER.size + length, 0, unique)


def failure(unique: int, number: int) -> bytes:
    """A whole answer that says errno `number`."""
    return _HEADER.pack(_HEADER.size, -number, unique)


def attributes_changed(node: int) -> bytes:
    """A whole message, no answer: what the kernel remembers of a node's attributes is outdated."""
    payload = _INVAL_INODE.pack(node, -1, 0)  # a negative offset leaves the pages alone
    return _HEADER.pack(_HEADER.size + len(payload), _NOTIFY_INVAL_INODE, 0) + payload


def pages_changed(node: int, offset: int, length: int) -> bytes:
    """A whole message, no answer: the kernel is to forget pages, and to write back what is dirty.

    To be sent by a thread that answers nothing: it waits for requests about these pages.
    """
    payload = _INVAL_INODE.pack(node, offset, length)
    return _HEADER.pack(_HEADER.size + len(payload), _NOTIFY_INVAL_INODE, 0) + payload


def name_changed(parent: int, name: bytes) -> bytes:
    """A whole message, no answer: the kernel is to forget what a name shows, and all below it.

    To be sent by a thread that answers nothing: it waits for requests that change the directory.
    What is mounted below is unmounted (fs/dcache.c, d_invalidate).
    """
    payload = _INVAL_ENTRY.pack(parent, len(name), 0) + name + b"\0"
    return _HEADER.pack(_HEADER.size + len(payload), _NOTIFY_INVAL_ENTRY, 0) + payload


def entry(node: int, found: Attributes, ttl_s: int) -> bytes:
    """A name's node and attributes, good for `ttl_s` seconds."""
    return _ENTRY.pack(
        node,
        0,
        ttl_s,
        ttl_s,
        0,
        0,
        found.ino,
        found.size,
        found.blocks,
        found.atime_ns // _BILLION & _LONG_MASK,
        found.mtime_ns // _BILLION & _LONG_MASK,
        found.ctime_ns // _BILLION & _LONG_MASK,
        found.atime_ns % _BILLION,
        found.mtime_ns % _BILLION,
        found.ctime_ns % _BILLION,
        found.mode,
        found.nlink,
        found.uid,
        found.gid,
        encode_device(found.rdev) if found.rdev else 0,
        found.blksize,
        0,
    )


def listed_entry(found: Attributes, ttl_s: int, cookie: int, name: bytes) -> bytes:
    """One name of READDIRPLUS: `entry` and `directory_entry`, of a node that has its number.

    In one piece, since a listing has one for each name.
    """
    ino, mode, nlink, uid, gid, rdev, size, blocks, blksize, atime_ns, mtime_ns, ctime_ns = found
    length = len(name)
    head = _LISTED.pack(
        ino,
        0,
        ttl_s,
        ttl_s,
        0,
        0,
        ino,
        size,
        blocks,
        atime_ns // _BILLION & _LONG_MASK,
        mtime_ns // _BILLION & _LONG_MASK,
        ctime_ns // _BILLION & _LONG_MASK,
        atime_ns % _BILLION,
        mtime_ns % _BILLION,
        ctime_ns % _BILLION,
        mode,
        nlink,
        uid,
        gid,
        encode_device(rdev) if rdev else 0,
        blksize,
        0,
        ino,
        cookie,
        length,
        (mode & _TYPE_MASK) >> 12,
    )
    return head + name + _PADDING[length & 7]


def node_of(entry: bytes) -> int:
    """The node id that an entry names."""
    return int(_LONG.unpack_from(entry)[0])


# A node id of 0: there is nothing under that name, and that may be remembered.
ABSENT = _ENTRY.pack(0, 0, NEVER, 0, *[0] * 18)


def attributes(found: Attributes, ttl_s: int) -> bytes:
    """What GETATTR and SETATTR answer."""
    return _ATTR_OUT.pack(
        ttl_s,
        0,
        0,
        found.ino,
        found.size,
        found.blocks,
        found.atime_ns // _BILLION & _LONG_MASK,
        found.mtime_ns // _BILLION & _LONG_MASK,
        found.ctime_ns // _BILLION & _LONG_MASK,
        found.atime_ns % _BILLION,
        found.mtime_ns % _BILLION,
        found.ctime_ns % _BILLION,
        found.mode,
        found.nlink,
        found.uid,
        found.gid,
        encode_device(found.rdev) if found.rdev else 0,
        found.blksize,
        0,
    )


def encode_device(device: int) -> int:
    """A dev_t in the kernel's 32-bit form (new_encode_dev)."""
    major, minor = os.major(device), os.minor(device)
    return (minor & 0xFF | major << 8 | (minor & ~0xFF) << 12) & _WORD_MASK


def opened(handle: int, flags: int, backing: int = 0) -> bytes:
    """What OPEN answers, and what follows the entry in CREATE's answer."""
    return _OPEN.pack(handle, flags, backing)


def written(size: int) -> bytes:
    """How much WRITE or COPY_FILE_RANGE moved; how long an xattr is."""
    return _WRITE.pack(size, 0)


def position(offset: int) -> bytes:
    """What LSEEK answers."""
    return _LONG.pack(offset)


def statistics(found: os.statvfs_result) -> bytes:
    """What STATFS answers."""
    return _STATFS.pack(
        found.f_blocks,
        found.f_bfree,
        found.f_bavail,
        found.f_files,
        found.f_ffree,
        found.f_bsize,
        found.f_namemax,
        found.f_frsize,
        0,
    )


def ioctl(result: int, data: bytes) -> bytes:
    """What IOCTL answers."""
    return _IOCTL.pack(result, 0, 0, 0) + data


def directory_entry(ino: int, cookie: int, mode: int, name: bytes) -> bytes:
    """One name of READDIR, padded to 8 bytes; `cookie` is where reading goes on after it."""
    length = len(name)
    head = _DIRENT.pack(ino, cookie, length, (mode & _TYPE_MASK) >> 12)
    return head + name + _PADDING[length & 7]


def statx(found: Attributes, birth_ns: int | None, ttl_s: int) -> bytes:
    """What STATX answers; without a time of birth its bit is unset."""
    mask = _STATX_BASIC | (0 if birth_ns is None else STATX_BTIME)
    times: list[int] = []
    for time_ns in (found.atime_ns, birth_ns or 0, found.ctime_ns, found.mtime_ns):
        times += divmod(time_ns, _BILLION)
    return _STATX_HEAD.pack(ttl_s, 0, 0) + _STATX.pack(
        mask,
        found.blksize,
        0,
        found.nlink,
        found.uid,
        found.gid,
        found.mode,
        found.ino,
        found.size,
        found.blocks,
        0,
        *times,
        os.major(found.rdev),
        os.minor(found.rdev),
        0,
        0,
    )
