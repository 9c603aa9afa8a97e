"""Owner, mode and type kept in an xattr, for who may not chown or mknod.

The value is `uid:gid:mode[:type]`, mode octal with or without a leading 0, type one of dir, file,
symlink, pipe, socket, block-MAJOR-MINOR, char-MAJOR-MINOR (containers/storage,
pkg/idtools; fuse-overlayfs writes no type).
"""

from __future__ import annotations

import os
import stat

from overlayfs_py.layers.ownership import is_ours_alone, without_powers
from overlayfs_py.named_tuple import NamedTuple

# fuse-overlayfs's option xattr_permissions: 1 needs privilege to write, 2 does not.
OVERRIDE_XATTRS = {1: b"security.fuseoverlayfs.override_stat", 2: b"user.containers.override_stat"}
LEGACY_XATTR = b"user.fuseoverlayfs.override_stat"

_TYPES = {
    "dir": stat.S_IFDIR,
    "file": stat.S_IFREG,
    "symlink": stat.S_IFLNK,
    "pipe": stat.S_IFIFO,
    "socket": stat.S_IFSOCK,
    "block": stat.S_IFBLK,
    "char": stat.S_IFCHR,
}
_MOST_ID = (1 << 32) - 2  # the last one means "none": chown(2)
_MOST_MODE = 0o177777
_MOST_MAJOR, _MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1  # linux/kdev_t.h
_NAMES = {bits: name for name, bits in _TYPES.items()}


class Override(NamedTuple):
    """What the xattr says instead of the inode."""

    uid: int
    gid: int
    mode: int  # type and permission bits
    rdev: int


def parse_override(value: bytes, real: os.stat_result) -> Override | None:
    """Read the xattr's value; None if it is not one.

    The inode's own type counts where the value names none, or one that the inode cannot stand
    for: what is no directory cannot be listed, what is no link has no target. Nor does it become a
    device or set-id for an id that its owner does not have: whoever may write a file may set the
    xattr.
    """
    found = _parse(value, real.st_mode)
    return found if found is None or is_ours_alone(real) else without_powers(found, real)


def _parse(value: bytes, real_mode: int) -> Override | None:
    try:
        uid, gid, mode, *kind = value.rstrip(b"\0").decode("ascii").split(":")
        file_type, rdev = _parse_type(kind[0]) if kind else (stat.S_IFMT(real_mode), 0)
        if not _can_stand_for(real_mode, file_type):
            file_type, rdev = stat.S_IFMT(real_mode), 0
        bits = stat.S_IMODE(_number(mode, _MOST_MODE, base=8))
        return Override(_number(uid, _MOST_ID), _number(gid, _MOST_ID), bits | file_type, rdev)
    except (ValueError, KeyError, IndexError):
        return None


def _number(text: str, most: int, *, base: int = 10) -> int:
    """Read what a layer's owner may have made up: int() takes signs, spaces and any length."""
    if not text.isdigit() or int(text, base) > most:
        raise ValueError(text)
    return int(text, base)


def _can_stand_for(real_mode: int, file_type: int) -> bool:
    real_type = stat.S_IFMT(real_mode)
    stands_in = real_type == stat.S_IFREG and file_type not in (stat.S_IFDIR, stat.S_IFLNK)
    return stands_in or real_type == file_type


def _parse_type(text: str) -> tuple[int, int]:
    name, *numbers = text.split("-")
    if name in ("block", "char"):
        major, minor = numbers
        return _TYPES[name], os.makedev(_number(major, _MOST_MAJOR), _number(minor, _MOST_MINOR))
    return _TYPES[name], 0


def format_override(override: Override) -> bytes:
    """Write the value in the form with a type, which every reader understands or ignores."""
    file_type = stat.S_IFMT(override.mode)
    name = _NAMES[file_type]
    if file_type in (stat.S_IFBLK, stat.S_IFCHR):
        name += f"-{os.major(override.rdev)}-{os.minor(override.rdev)}"
    return f"{override.uid}:{override.gid}:0{stat.S_IMODE(override.mode):o}:{name}".encode()
