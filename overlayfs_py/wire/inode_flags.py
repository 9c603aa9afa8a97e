"""An inode's flags in their two forms: FS_IOC_GETFLAGS and FS_IOC_FSGETXATTR (linux/fs.h)."""

from __future__ import annotations

import struct

# struct fsxattr: flags, extent size, number of extents, project, copy-on-write extent size.
_FSXATTR = struct.Struct("=IIIII8x")
# FS_*_FL and FS_XFLAG_* of the same meaning: synchronous, immutable, append-only, no dump, no atime
# (fs/file_attr.c, fileattr_fill_flags).
_PAIRS = ((0x8, 0x20), (0x10, 0x8), (0x20, 0x10), (0x40, 0x80), (0x80, 0x40))
_PLAIN = sum(plain for plain, _ in _PAIRS)
_EXTENDED = sum(extended for _, extended in _PAIRS)
_ONLY_SHOWN = 0x80000002  # that there are xattrs, and space set aside: FS_XFLAG_RDONLY_MASK


def extended_flags(flags: int) -> bytes:
    """What FS_IOC_FSGETXATTR returns (struct fsxattr); extent sizes and project are 0."""
    shown = sum(extended for plain, extended in _PAIRS if flags & plain)
    return _FSXATTR.pack(shown, 0, 0, 0, 0)


def plain_flags(wanted: bytes | memoryview, before: int) -> int | None:
    """The flags that FS_IOC_FSSETXATTR makes of `before`; None if it asks for more than flags."""
    extended, extent, _extents, project, shared_extent = _FSXATTR.unpack_from(wanted)
    if extended & ~(_EXTENDED | _ONLY_SHOWN) or extent or project or shared_extent:
        return None
    return before & ~_PLAIN | sum(plain for plain, other in _PAIRS if extended & other)
