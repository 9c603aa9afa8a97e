"""Calls on files that Python's `os` lacks: renameat2, chmod that never follows, reflinks."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys

from overlayfs_py.syscalls.libc import (
    CBytes,
    CInt,
    COff,
    CUInt,
    function,
    out_buffer,
    syscall,
    system_call_errno,
)

# linux/fs.h
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4
_FICLONE = 0x40049409
FS_IOC_GETFLAGS = 0x80086601
FS_IOC_SETFLAGS = 0x40086602
_FS_IOC_FIEMAP = 0xC020660B
# linux/fiemap.h, struct fiemap: start, length, flags, mapped extents, room for extents, reserved
_FIEMAP = struct.Struct("=QQIIII")

_AT_FDCWD = -100
_SYNC_FILE_RANGE_WRITE = 2
_STATX_BTIME = 0x800
_STATX_SIZE = 256
_STATX_ATTRIBUTES_OFFSET = 8  # stx_mask and stx_blksize come before
_STATX_BTIME_OFFSET = 80  # struct statx: stx_btime follows stx_atime, which is at 64

_AT_SYMLINK_NOFOLLOW = 0x100
_AT_EACCESS = 0x200
_SYS_FACCESSAT2 = 439  # the same number on every architecture (Linux 5.8)
_SYS_FCHMODAT2 = 452  # the same number on every architecture (Linux 6.6)

_renameat2 = function("renameat2", CInt, CBytes, CInt, CBytes, CUInt)
_fallocate = function("fallocate64", CInt, CInt, COff, COff)
_syncfs = function("syncfs", CInt)
_sync_file_range = function("sync_file_range", CInt, COff, COff, CUInt)
_statx = function("statx", CInt, CBytes, CInt, CUInt, CBytes)
_faccessat2 = system_call_errno(_SYS_FACCESSAT2, CInt, CBytes, CInt, CInt)
_fchmodat2 = syscall(_SYS_FCHMODAT2, CInt, CBytes, CUInt, CInt)


def rename(old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> None:
    """Rename one component below a directory descriptor to another: renameat2(2)."""
    _renameat2(old_fd, old, new_fd, new, flags)


def exchange(one: bytes, two: bytes) -> None:
    """Let what two paths name change places, at once: renameat2(2)."""
    _renameat2(_AT_FDCWD, one, _AT_FDCWD, two, RENAME_EXCHANGE)


def chmod(dir_fd: int, name: bytes, mode: int) -> None:
    """Set the permission bits of `name`, which must not be a symbolic link.

    Linux before 6.6 has no chmod that refuses links; there an O_PATH descriptor, which is
    checked, stands for the name.
    """
    try:
        _fchmodat2(dir_fd, name, mode, _AT_SYMLINK_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ENOSYS:
            raise
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            os.chmod(b"/proc/self/fd/%d" % handle, mode)
        finally:
            os.close(handle)


def exists_at(dir_fd: int, name: bytes) -> bool:
    """Whether there is something called `name`, be it a link that leads nowhere.

    Takes a third of stat(2) where there is nothing, since that makes an exception.
    """
    number = _faccessat2(dir_fd, name, os.F_OK, _AT_SYMLINK_NOFOLLOW | _AT_EACCESS)
    if number in (0, errno.ENOENT):
        return number == 0
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def clone(source_fd: int, target_fd: int) -> None:
    """Make `target_fd` share all data of `source_fd` (FICLONE); OSError where it cannot."""
    fcntl.ioctl(target_fd, _FICLONE, source_fd)


def allocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Allocate, punch or zero a range: fallocate(2) with all its modes."""
    _fallocate(fd, mode, offset, length)


def count_extents(fd: int, offset: int, length: int) -> int:
    """Return how many extents a range has, allocated ones without data too: FS_IOC_FIEMAP."""
    request = bytearray(_FIEMAP.pack(offset, length, 0, 0, 0, 0))
    fcntl.ioctl(fd, _FS_IOC_FIEMAP, request)
    return int(_FIEMAP.unpack(request)[3])


def begin_writing(fd: int, offset: int, length: int) -> None:
    """Have a range on its way to the disk, without waiting for it: sync_file_range(2)."""
    _sync_file_range(fd, offset, length, _SYNC_FILE_RANGE_WRITE)


def sync_filesystem(path: bytes) -> None:
    """Wait until all of the filesystem that `path` is on is on the disk: syncfs(2)."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        _syncfs(fd)
    finally:
        os.close(fd)


def birth_time_ns(path: bytes, *, follow: bool) -> int | None:
    """When an object was created, in ns; None where the filesystem does not know."""
    buffer = out_buffer(_STATX_SIZE)
    flags = 0 if follow else _AT_SYMLINK_NOFOLLOW
    _statx(_AT_FDCWD, path, flags, _STATX_BTIME, buffer)
    answer = buffer.raw
    if not struct.unpack_from("=I", answer)[0] & _STATX_BTIME:
        return None
    seconds, nanoseconds = struct.unpack_from("=qI", answer, _STATX_BTIME_OFFSET)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def attribute_flags(path: bytes, *, follow: bool) -> int:
    """Return the STATX_ATTR_* of an object: some inode flags, with no need to open it."""
    buffer = out_buffer(_STATX_SIZE)
    _statx(_AT_FDCWD, path, 0 if follow else _AT_SYMLINK_NOFOLLOW, 0, buffer)
    return int(struct.unpack_from("=Q", buffer.raw, _STATX_ATTRIBUTES_OFFSET)[0])


def get_flags(fd: int) -> int:
    """Read an inode's flags (chattr(1)): FS_IOC_GETFLAGS."""
    buffer = bytearray(4)
    fcntl.ioctl(fd, FS_IOC_GETFLAGS, buffer)
    return int.from_bytes(buffer, sys.byteorder)


def set_flags(fd: int, flags: int) -> None:
    """Set an inode's flags: FS_IOC_SETFLAGS."""
    fcntl.ioctl(fd, FS_IOC_SETFLAGS, flags.to_bytes(4, sys.byteorder))
