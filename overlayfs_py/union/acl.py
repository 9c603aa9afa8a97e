"""POSIX ACLs as their xattrs: what a new object inherits, and the ids in them.

Source: Linux fs/posix_acl.c (posix_acl_create_masq), include/uapi/linux/posix_acl_xattr.h.
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"

_VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")

_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20


class AclEntry(NamedTuple):
    """One line of an ACL."""

    tag: int
    permissions: int  # rwx as 4, 2, 1
    id: int  # of _USER and _GROUP entries


class Inherited(NamedTuple):
    """What a new object gets from its directory's default ACL."""

    mode: int
    access: bytes | None  # the access ACL's xattr; None where the mode says all


def parse(value: bytes) -> list[AclEntry]:
    """Read an ACL xattr; EINVAL if it is none, as setxattr(2) says of one."""
    body = value[_HEADER.size :]
    if len(body) % _ENTRY.size or value[: _HEADER.size] != _HEADER.pack(_VERSION):
        raise OSError(errno.EINVAL, "not a POSIX ACL of version 2")
    return [AclEntry(*fields) for fields in _ENTRY.iter_unpack(body)]


def build(entries: list[AclEntry]) -> bytes:
    """Write an ACL xattr."""
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in entries)


def inherit(default: bytes, mode: int) -> Inherited:
    """Apply a default ACL to an object created with `mode`, which no umask has touched."""
    entries = parse(default)
    group_tag = _MASK if any(entry.tag == _MASK for entry in entries) else _GROUP_OBJ
    allowed = {_USER_OBJ: mode >> 6 & 7, group_tag: mode >> 3 & 7, _OTHER: mode & 7}
    masked = [
        entry._replace(permissions=entry.permissions & allowed.get(entry.tag, 7))
        for entry in entries
    ]
    bits = {entry.tag: entry.permissions for entry in masked}
    new_mode = bits[_USER_OBJ] << 6 | bits[group_tag] << 3 | bits[_OTHER]
    is_minimal = all(entry.tag in (_USER_OBJ, _GROUP_OBJ, _OTHER) for entry in masked)
    return Inherited(mode & ~0o777 | new_mode, None if is_minimal else build(masked))


def with_ids(value: bytes, uid_of: Callable[[int], int], gid_of: Callable[[int], int]) -> bytes:
    """Return the ACL with every user's and group's id mapped."""
    if not value:
        return value  # setting nothing removes the ACL
    mapped = {_USER: uid_of, _GROUP: gid_of}
    return build(
        [
            entry._replace(id=mapped[entry.tag](entry.id)) if entry.tag in mapped else entry
            for entry in parse(value)
        ]
    )
