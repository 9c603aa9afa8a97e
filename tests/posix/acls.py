"""POSIX ACLs as the bytes of their xattrs. Source: Linux include/uapi/linux/posix_acl_xattr.h."""

from __future__ import annotations

import struct

ACCESS = "system.posix_acl_access"
DEFAULT = "system.posix_acl_default"

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_NO_ID = 0xFFFFFFFF
_VERSION = struct.pack("<I", 2)
_ENTRY = struct.Struct("<HHI")


def acl(*entries: tuple[int, int] | tuple[int, int, int]) -> bytes:
    """Write an ACL of (tag, rwx bits[, id])."""
    return _VERSION + b"".join(_ENTRY.pack(*(*entry, _NO_ID)[:3]) for entry in entries)


def entries_of(value: bytes) -> list[tuple[int, ...]]:
    """Read what `acl` writes."""
    assert value[:4] == _VERSION
    return [entry[:2] if entry[2] == _NO_ID else entry for entry in _ENTRY.iter_unpack(value[4:])]
