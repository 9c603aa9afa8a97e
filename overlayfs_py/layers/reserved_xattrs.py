"""The xattrs that mean something in a layer, and the names under which users' own are kept there.

What a user calls PREFIX + x lies on disk as PREFIX + "overlay." + x, whatever namespace the mount
heeds: the same upper may be a layer of the next one (overlayfs.rst, "Nesting overlayfs mounts").
"""

from __future__ import annotations

from functools import lru_cache

from overlayfs_py.layers.marks import ESCAPE, FUSE_OVERLAYFS_PREFIXES, PRIVATE_PREFIXES
from overlayfs_py.layers.override_stat import OVERRIDE_XATTRS

_OVERRIDE_PREFIX, _OVERRIDE_NAME = b"user.containers.", b"override_stat"
assert OVERRIDE_XATTRS[2] == _OVERRIDE_PREFIX + _OVERRIDE_NAME


@lru_cache(maxsize=64)  # programs ask for a few, of each file
def disk_name(name: bytes) -> bytes:
    """The name under which an xattr of a user's is kept."""
    for prefix in PRIVATE_PREFIXES:
        if name.startswith(prefix):
            return prefix + ESCAPE + name[len(prefix) :]
    if _is_override(name):
        return _OVERRIDE_PREFIX + ESCAPE + name[len(_OVERRIDE_PREFIX) :]
    return name


def seen_name(on_disk: bytes) -> bytes | None:
    """The user's name of an xattr on disk; None where it says something of the layer."""
    for prefix in PRIVATE_PREFIXES:
        if on_disk.startswith(prefix):
            return _unescaped(on_disk, prefix)
    if _is_override(on_disk):
        return _unescaped(on_disk, _OVERRIDE_PREFIX)
    return None if on_disk.startswith(FUSE_OVERLAYFS_PREFIXES) else on_disk


def is_users(on_disk: bytes) -> bool:
    """Whether an xattr on disk is a user's, to be copied and packed with the object."""
    return seen_name(on_disk) is not None


def _unescaped(on_disk: bytes, prefix: bytes) -> bytes | None:
    if not on_disk.startswith(prefix + ESCAPE):
        return None
    return prefix + on_disk[len(prefix + ESCAPE) :]


def _is_override(name: bytes) -> bool:
    """Whether a name is the xattr of owner and mode, escaped any number of times."""
    if not name.startswith(_OVERRIDE_PREFIX) or not name.endswith(_OVERRIDE_NAME):
        return False
    between = name[len(_OVERRIDE_PREFIX) : -len(_OVERRIDE_NAME)]
    return not between.replace(ESCAPE, b"")
