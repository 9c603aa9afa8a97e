"""Extended attributes below a directory descriptor, which Python's `os` cannot name."""

from __future__ import annotations

import errno
import struct

from overlayfs_py.syscalls.libc import (
    CBytes,
    CInt,
    CSize,
    CUInt,
    address_of,
    out_buffer,
    system_call_errno,
    system_call_result,
)

AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_SYS_GETXATTRAT = 464  # the same number on every architecture (Linux 6.13)
_SYS_LISTXATTRAT = 465
_ARGUMENTS_SIZE = 16  # struct xattr_args: where the value shall go, and its room

_getxattrat = system_call_errno(_SYS_GETXATTRAT, CInt, CBytes, CUInt, CBytes, CBytes, CSize)
_listxattrat_size = system_call_result(_SYS_LISTXATTRAT, CInt, CBytes, CUInt, CBytes, CSize)
# Without room for it the kernel tells the size alone, and writes nothing.
_NO_ROOM = out_buffer(_ARGUMENTS_SIZE)
_getxattrat_size = system_call_result(_SYS_GETXATTRAT, CInt, CBytes, CUInt, CBytes, CBytes, CSize)
# One buffer: what is in it is taken out before anybody else can ask, in the serving thread alone.
_SHORT_SIZE = 256
_SHORT_VALUE = out_buffer(_SHORT_SIZE)
_SHORT_ARGUMENTS = struct.pack("=QII", address_of(_SHORT_VALUE), _SHORT_SIZE, 0)


def has_none(dir_fd: int, name: bytes) -> bool:
    """Whether `name`, itself even if it is a symbolic link, surely has no xattr to be listed.

    False wherever it is not known, as in `is_absent`. A third of listxattr(2) of a path in /proc.
    """
    return _listxattrat_size(dir_fd, name, _AT_SYMLINK_NOFOLLOW, None, 0) == 0


def is_absent(dir_fd: int, name: bytes, xattr: bytes) -> bool:
    """Whether `name`, itself even if it is a symbolic link, surely has no such xattr.

    False wherever it is not known: it has one, can have none, or the kernel has no such call.
    Without exception and path a quarter of what getxattr(2) of a path in /proc takes.
    """
    flags = _AT_SYMLINK_NOFOLLOW
    number = _getxattrat(dir_fd, name, flags, xattr, _NO_ROOM, _ARGUMENTS_SIZE)
    return number == errno.ENODATA


def short_value(dir_fd: int, name: bytes, xattr: bytes) -> bytes | None:
    """Return an xattr of `name` that has 256 bytes at most; b"" if there is none.

    None wherever it is not known, as in `is_absent`. Not for several threads at once.
    """
    flags = _AT_SYMLINK_NOFOLLOW
    size = _getxattrat_size(dir_fd, name, flags, xattr, _SHORT_ARGUMENTS, _ARGUMENTS_SIZE)
    if size >= 0:
        return _SHORT_VALUE.raw[:size]
    return b"" if size == -errno.ENODATA else None


def is_absent_from(fd: int, xattr: bytes) -> bool:
    """The same of what is open as `fd`, for reading or writing."""
    return _getxattrat(fd, b"", AT_EMPTY_PATH, xattr, _NO_ROOM, _ARGUMENTS_SIZE) == errno.ENODATA
