"""mount(2), umount2(2) and the descriptor-based mount calls (Linux 5.2 and 5.12).

Every error carries the path it is about.
"""

from __future__ import annotations

import os
import struct
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.libc import CBytes, CInt, CSize, CUInt, CULong, function, syscall

if TYPE_CHECKING:
    from collections.abc import Iterator

# <linux/mount.h>
MS_RDONLY = 1 << 0
MS_NOSUID = 1 << 1
MS_NODEV = 1 << 2
MS_NOEXEC = 1 << 3
MS_SYNCHRONOUS = 1 << 4
MS_REMOUNT = 1 << 5
MS_DIRSYNC = 1 << 7
MS_NOATIME = 1 << 10
MS_NODIRATIME = 1 << 11
MS_BIND = 1 << 12
MS_MOVE = 1 << 13
MS_REC = 1 << 14
MS_POSIXACL = 1 << 16
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19

MNT_FORCE = 1 << 0
MNT_DETACH = 1 << 1
UMOUNT_NOFOLLOW = 1 << 3

_OPEN_TREE_CLONE = 1 << 0
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 1 << 2
_MOVE_MOUNT_T_EMPTY_PATH = 1 << 6
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000

MOUNT_ATTR_RDONLY = 0x01
MOUNT_ATTR_NOSUID = 0x02
MOUNT_ATTR_NODEV = 0x04
MOUNT_ATTR_NOEXEC = 0x08
MOUNT_ATTR_NOATIME = 0x10
_MOUNT_ATTR_ATIME_FIELD = 0x70  # MOUNT_ATTR__ATIME: not a bit but a field, cleared before set

# The numbers of the calls since 5.1 are the same on every architecture but alpha.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_MOUNT_SETATTR = 442

_mount = function("mount", CBytes, CBytes, CBytes, CULong, CBytes)
_umount2 = function("umount2", CBytes, CInt)
_open_tree = syscall(_SYS_OPEN_TREE, CInt, CBytes, CUInt)
_move_mount = syscall(_SYS_MOVE_MOUNT, CInt, CBytes, CInt, CBytes, CUInt)
_mount_setattr = syscall(_SYS_MOUNT_SETATTR, CInt, CBytes, CUInt, CBytes, CSize)

_MOUNT_ATTR = struct.Struct("=QQQQ")  # attr_set, attr_clr, propagation, userns_fd


@contextmanager
def _about(path: bytes | int) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def mount(
    source: bytes | None, target: bytes, kind: bytes | None, flags: int, data: bytes | None = None
) -> None:
    """Mount filesystem type `kind` on `target`; what the other values mean depends on `flags`."""
    with _about(target):
        _mount(source, target, kind, flags, data)


def umount(target: bytes, flags: int = 0) -> None:
    with _about(target):
        _umount2(target, flags)


def open_tree_clone(path: bytes | int, *, submounts: bool = False) -> int:
    """Return a descriptor of a detached copy of the mount at `path`, rooted there.

    With `submounts` also of all that is mounted below `path`, in its place.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | _AT_RECURSIVE * submounts
    with _about(path):
        if isinstance(path, int):
            return _open_tree(path, b"", flags | _AT_EMPTY_PATH)
        return _open_tree(_AT_FDCWD, path, flags)


def mount_setattr(
    mount_fd: int, set_attributes: int, *, private: bool = False, submounts: bool = False
) -> None:
    """Set MOUNT_ATTR_* on the mount of `mount_fd`; `private` also ends its propagation.

    With `submounts` on all that is mounted below it, too; on all or on none.
    """
    cleared = _MOUNT_ATTR_ATIME_FIELD if set_attributes & _MOUNT_ATTR_ATIME_FIELD else 0
    packed = _MOUNT_ATTR.pack(set_attributes, cleared, MS_PRIVATE if private else 0, 0)
    flags = _AT_EMPTY_PATH | _AT_RECURSIVE * submounts
    with _about(mount_fd):
        _mount_setattr(mount_fd, b"", flags, packed, len(packed))


def move_mount(mount_fd: int, target: bytes | int) -> None:
    """Attach the detached mount of `mount_fd` at a path, or at what a descriptor is of."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH
    with _about(target):
        if isinstance(target, int):
            _move_mount(mount_fd, b"", target, b"", flags | _MOVE_MOUNT_T_EMPTY_PATH)
        else:
            _move_mount(mount_fd, b"", _AT_FDCWD, target, flags)


def detached_clone(path: bytes, *, read_only: bool, noatime: bool, submounts: bool = False) -> int:
    """Return a descriptor of a private copy of the mount at `path`, visible nowhere.

    What is opened below the descriptor obeys the copy's own flags, whatever the mount at `path`
    allows. What will be mounted below `path` later does not show, and what is mounted there
    already only with `submounts`. The copy goes away with the last descriptor into it.

    Raises:
        OSError: EPERM without CAP_SYS_ADMIN over the mount namespace, and in a user namespace
            where `noatime` differs from a mount that it inherited; EINVAL where such a mount has
            others below it, which must not be uncovered: then only `submounts` helps; ENOSYS
            before Linux 5.12.
    """
    clone_fd = open_tree_clone(path, submounts=submounts)
    try:
        wanted = MOUNT_ATTR_RDONLY * read_only | MOUNT_ATTR_NOATIME * noatime
        with _about(path):
            mount_setattr(clone_fd, wanted, private=True, submounts=submounts)
    except OSError:
        os.close(clone_fd)
        raise
    return clone_fd
