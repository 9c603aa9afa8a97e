"""System calls that a check needs and Python's `os` lacks."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.syscalls.libc import CBytes, CInt, COff, CPointer, CSize, CUInt, function, syscall

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
FALLOC_FL_KEEP_SIZE = 1
FALLOC_FL_PUNCH_HOLE = 2
UTIME_NOW = (1 << 30) - 1
UTIME_OMIT = (1 << 30) - 2

_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_SYS_GETDENTS64 = 217 if os.uname().machine == "x86_64" else 61
_TIMES = struct.Struct("=qqqq")
_DIRENT = struct.Struct("=QqHB")

_renameat2 = function("renameat2", CInt, CBytes, CInt, CBytes, CUInt)
_fallocate = function("fallocate", CInt, CInt, COff, COff)
_utimensat = function("utimensat", CInt, CBytes, CBytes, CInt)
_getxattr = function("lgetxattr", CBytes, CBytes, CPointer, CSize)
_syncfs = function("syncfs", CInt)
_getdents = syscall(_SYS_GETDENTS64, CInt, CPointer, CSize)


class Dirent(NamedTuple):
    """One entry as the kernel lists it."""

    name: bytes
    ino: int
    next: int  # where to seek to get the entry after this one
    kind: int  # DT_*


def rename(old: Path, new: Path, flags: int) -> None:
    _renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), flags)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """As the system call: libc's posix_fallocate would write zeros where it is missing."""
    _fallocate(descriptor, mode, offset, length)


def set_times(
    path: Path, atime: tuple[int, int], mtime: tuple[int, int], *, follow: bool = True
) -> None:
    """Set times given as (seconds, nanoseconds or UTIME_*)."""
    flags = 0 if follow else _AT_SYMLINK_NOFOLLOW
    _utimensat(_AT_FDCWD, os.fsencode(path), _TIMES.pack(*atime, *mtime), flags)


def get_xattr_into(path: Path, name: str, size: int) -> bytes:
    """Read an xattr into a buffer of `size` bytes, without asking for its size before."""
    buffer = ctypes.create_string_buffer(size)
    length = _getxattr(os.fsencode(path), name.encode(), buffer, size)
    return buffer.raw[:length]


def syncfs(descriptor: int) -> None:
    _syncfs(descriptor)


def read_directory(descriptor: int, size: int = 32768) -> list[Dirent]:
    """Return what one getdents64 with a buffer of `size` bytes gives; empty at the end."""
    buffer = ctypes.create_string_buffer(size)
    length = _getdents(descriptor, buffer, size)
    return list(_parse(buffer.raw[:length]))


def list_directory(descriptor: int, size: int = 32768) -> Iterator[Dirent]:
    """Give all entries from where the descriptor stands, buffer by buffer."""
    while entries := read_directory(descriptor, size):
        yield from entries


def _parse(raw: bytes) -> Iterator[Dirent]:
    offset = 0
    while offset < len(raw):
        ino, following, length, kind = _DIRENT.unpack_from(raw, offset)
        name = raw[offset + _DIRENT.size : offset + length].split(b"\0", 1)[0]
        yield Dirent(name, ino, following, kind)
        offset += length
