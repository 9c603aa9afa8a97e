"""openat2(2): paths that the kernel follows as inside a root, whoever changes it meanwhile."""

from __future__ import annotations

import errno
import os
import struct

from overlayfs_py.syscalls.libc import CBytes, CInt, CSize, syscall

_SYS_OPENAT2 = 437  # the same number on every architecture (Linux 5.6)
_HOW = struct.Struct("=QQQ")  # struct open_how: flags, mode, resolve
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_IN_ROOT = 0x10

_openat2 = syscall(_SYS_OPENAT2, CInt, CBytes, CBytes, CSize)


def open_in_root(root_fd: int, path: bytes, flags: int) -> int:
    """Open a path whose `/` is the directory of `root_fd`: absolute links and `..` stay in it.

    No link of /proc that leads elsewhere is followed.
    """
    how = _HOW.pack(flags | os.O_CLOEXEC, 0, _RESOLVE_IN_ROOT | _RESOLVE_NO_MAGICLINKS)
    while True:
        try:
            return _openat2(root_fd, path, how, len(how))
        except OSError as error:
            # Something on the way was renamed meanwhile: the kernel could not tell whether it left.
            if error.errno != errno.EAGAIN:
                raise OSError(error.errno, error.strerror, path) from None
