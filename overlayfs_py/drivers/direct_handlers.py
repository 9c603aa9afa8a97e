"""Which method answers which request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.wire.protocol import Opcode

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.drivers.direct_operations import Answer, DirectOperations
    from overlayfs_py.wire.requests import Body, Header

_METHODS = {
    Opcode.OPEN: "open",  # only where the kernel is to ask at every open
    Opcode.LOOKUP: "lookup",
    Opcode.GETATTR: "getattr",
    Opcode.SETATTR: "setattr",
    Opcode.READLINK: "readlink",
    Opcode.SYMLINK: "symlink",
    Opcode.MKNOD: "mknod",
    Opcode.MKDIR: "mkdir",
    Opcode.UNLINK: "unlink",
    Opcode.RMDIR: "rmdir",
    Opcode.RENAME: "rename",
    Opcode.RENAME2: "rename",
    Opcode.LINK: "link",
    Opcode.READ: "read",
    Opcode.WRITE: "write",
    Opcode.STATFS: "statfs",
    Opcode.RELEASE: "release",
    Opcode.RELEASEDIR: "release",
    Opcode.FSYNC: "fsync",
    Opcode.FSYNCDIR: "fsync",
    Opcode.SETXATTR: "setxattr",
    Opcode.GETXATTR: "getxattr",
    Opcode.LISTXATTR: "listxattr",
    Opcode.REMOVEXATTR: "removexattr",
    Opcode.CREATE: "create",
    Opcode.TMPFILE: "tmpfile",
    Opcode.FALLOCATE: "fallocate",
    Opcode.READDIR: "readdir",
    Opcode.READDIRPLUS: "readdirplus",
    Opcode.LSEEK: "lseek",
    Opcode.COPY_FILE_RANGE: "copy_file_range",
    Opcode.IOCTL: "ioctl",
    Opcode.STATX: "statx",
}


def handlers_of(
    operations: DirectOperations,
) -> dict[int, Callable[[Header, Body], Answer]]:
    """Return, by opcode, the methods that answer; what has none is refused for good."""
    return {
        opcode: getattr(operations, method)
        for opcode, method in _METHODS.items()
        if hasattr(operations, method)
    }
