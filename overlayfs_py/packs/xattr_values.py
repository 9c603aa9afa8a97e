"""Which xattrs Linux can have, and what those must look like that the kernel reads itself.

Sources: fs/xattr.c, xattr_resolve_name; fs/posix_acl.c, posix_acl_from_xattr and posix_acl_valid;
include/uapi/linux/capability.h, vfs_cap_data.
"""

from __future__ import annotations

import struct
from types import MappingProxyType
from typing import TYPE_CHECKING

from overlayfs_py.tars.acl_text import is_valid_acl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NAMESPACES = (b"user.", b"trusted.", b"security.")
_REVISION = struct.Struct("<I")
# By revision: how long the value is.
_CAPABILITIES = {1: 12, 2: 20, 3: 24}


def _is_capability(value: bytes) -> bool:
    if len(value) < _REVISION.size:
        return False
    revision = _REVISION.unpack_from(value)[0] >> 24
    return len(value) == _CAPABILITIES.get(revision)


VALID_VALUES: Mapping[bytes, Callable[[bytes], bool]] = MappingProxyType(
    {
        b"system.posix_acl_access": is_valid_acl,
        b"system.posix_acl_default": is_valid_acl,
        b"security.capability": _is_capability,
    }
)
