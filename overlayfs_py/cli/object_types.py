"""What the types of objects are called in output for programs."""

from __future__ import annotations

import stat

_NAMES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
}


def type_name(file_type: int) -> str:
    """Return the name of one of stat's S_IF* constants."""
    return _NAMES.get(file_type, "other")
