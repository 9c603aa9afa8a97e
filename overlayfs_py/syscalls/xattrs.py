"""Extended attributes below a directory descriptor, which Python's `os` cannot name."""

from __future__ import annotations

import errno

from overlayfs_py.syscalls.libc import CBytes, CInt, CSize, CUInt, out_buffer, system_call_errno

AT_EMPTY_PATH = 0x1000
_AT_SYMLINK_NOFOLLOW = 0x100
_SYS_GETXATTRAT = 464  # the same number on every architecture (Linux 6.13)
_ARGUMENTS_SIZE = 16  # struct xattr_args: where the value shall go, and its room

_getxattrat = system_call_errno(_SYS_GETXATTRAT, CInt, CBytes, CUInt, CBytes, CBytes, CSize)
# Without room for it the kernel tells the size alone, and writes nothing.
_NO_ROOM = out_buffer(_ARGUMENTS_SIZE)


def is_absent(dir_fd: int, name: bytes, xattr: bytes) -> bool:
    """Whether `name`, itself even if it is a symbolic link, surely has no such xattr.

    False wherever it is not known: it has one, can have none, or the kernel has no such call.
    Without exception and path a quarter of what getxattr(2) of a path in /proc takes.
    """
    flags = _AT_SYMLINK_NOFOLLOW
    number = _getxattrat(dir_fd, name, flags, xattr, _NO_ROOM, _ARGUMENTS_SIZE)
    return number == errno.ENODATA


def is_absent_from(fd: int, xattr: bytes) -> bool:
    """The same of what is open as `fd`, for reading or writing."""
    return _getxattrat(fd, b"", AT_EMPTY_PATH, xattr, _NO_ROOM, _ARGUMENTS_SIZE) == errno.ENODATA
