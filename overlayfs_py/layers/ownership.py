"""Whether what is on the host can have been made by nobody but root and ourselves."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overlayfs_py.layers.override_stat import Override

_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_SET_ID = stat.S_ISUID | stat.S_ISGID
_DEVICES = (stat.S_IFBLK, stat.S_IFCHR)


def is_ours_alone(status: os.stat_result) -> bool:
    """Whether an object belongs to root or the user of this process, and no other may write it.

    A sticky bit does not help: whoever may write an object may set `user.*` xattrs on it.
    """
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & _WRITABLE_BY_OTHERS


def powerless_mode(mode: int, rdev: int) -> tuple[int, int]:
    """Return mode and device without the power that set-id bits and devices give.

    Of a directory the bits give none, and the device 0:0 means a deletion.
    """
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFDIR:
        return mode, rdev
    if kind in _DEVICES and (rdev or kind == stat.S_IFBLK):
        kind, rdev = stat.S_IFREG, 0
    return kind | stat.S_IMODE(mode) & ~_SET_ID, rdev


def without_powers(claimed: Override, real: os.stat_result) -> Override:
    """Return what an xattr claims of an inode, as far as the inode's owner has the power for it."""
    mode, rdev = powerless_mode(claimed.mode, claimed.rdev)
    if claimed.uid == real.st_uid:
        mode |= claimed.mode & real.st_mode & stat.S_ISUID
    if claimed.gid == real.st_gid:
        mode |= claimed.mode & real.st_mode & stat.S_ISGID
    return claimed._replace(mode=mode, rdev=rdev)
