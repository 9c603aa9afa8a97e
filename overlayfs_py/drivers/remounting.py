"""`mount -o remount,...`: other flags for a mount of ours, which its daemon need not know of.

Layers, upper and volumes stay what they are; the kernel enforces the flags.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.drivers import mountinfo
from overlayfs_py.errors import OverlayError
from overlayfs_py.syscalls import mounts

if TYPE_CHECKING:
    from collections.abc import Sequence

# By option: the flags to set, those to clear. `sync` and `dirsync` the kernel takes over, too.
_CHANGES = {
    "ro": (mounts.MS_RDONLY, 0),
    "rw": (0, mounts.MS_RDONLY),
    "nosuid": (mounts.MS_NOSUID, 0),
    "suid": (0, mounts.MS_NOSUID),
    "nodev": (mounts.MS_NODEV, 0),
    "dev": (0, mounts.MS_NODEV),
    "noexec": (mounts.MS_NOEXEC, 0),
    "exec": (0, mounts.MS_NOEXEC),
    "noatime": (mounts.MS_NOATIME, 0),
    "atime": (0, mounts.MS_NOATIME),
    "sync": (mounts.MS_SYNCHRONOUS, 0),
    "dirsync": (mounts.MS_DIRSYNC, 0),
    "async": (0, mounts.MS_SYNCHRONOUS | mounts.MS_DIRSYNC),
}
_FROM_STATVFS = (
    (os.ST_RDONLY, mounts.MS_RDONLY),
    (os.ST_NOSUID, mounts.MS_NOSUID),
    (os.ST_NODEV, mounts.MS_NODEV),
    (os.ST_NOEXEC, mounts.MS_NOEXEC),
    (os.ST_NOATIME, mounts.MS_NOATIME),
    (os.ST_SYNCHRONOUS, mounts.MS_SYNCHRONOUS),
)


class CannotRemount(OverlayError):
    """What is mounted there cannot get the flags that were asked for."""


def remount(target: bytes, options: Sequence[str]) -> None:
    """Change the flags that `options` name, in their order, of the mount at `target`.

    Raises:
        CannotRemount: there is no mount of FUSE, or the user has no right to change one.
        OSError: EBUSY, files are open for writing.
    """
    real = os.path.realpath(target)
    listed = mountinfo.topmost(real)
    if listed is None or not listed.kind.startswith(b"fuse."):
        raise CannotRemount(errno.EINVAL, "remount: there is no mount of overlayfs-py", real)
    flags = _flags_now(real)
    for option in options:
        added, cleared = _CHANGES.get(option, (0, 0))
        flags = flags & ~cleared | added
    try:
        mounts.mount(None, real, None, mounts.MS_REMOUNT | flags)
    except PermissionError as error:
        reason = "remount: only root may change a mount; unmount it and mount it anew"
        raise CannotRemount(errno.EPERM, reason, real) from error


def _flags_now(target: bytes) -> int:
    """The flags that a remount has to name again: it sets all."""
    known = os.statvfs(target).f_flag
    return sum(flag for told, flag in _FROM_STATVFS if known & told)
