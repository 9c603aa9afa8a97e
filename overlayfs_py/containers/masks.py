"""Files and directories of /proc and /sys that a container sees empty, or may only read.

What is masked and what is read-only is what docker and podman mask and protect by default
(moby: oci/defaults.go; containers/common: pkg/config/default.go).
"""

from __future__ import annotations

import errno
import os
import stat

from overlayfs_py.drivers import mountinfo
from overlayfs_py.syscalls import mounts

QUIET = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
# What a remount must repeat: a user namespace may not take flags away (mount_namespaces(7)).
KEPT_FLAGS = QUIET | mounts.MS_NOATIME | mounts.MS_NODIRATIME
_READ_ONLY = (
    mounts.MOUNT_ATTR_RDONLY
    | mounts.MOUNT_ATTR_NOSUID
    | mounts.MOUNT_ATTR_NODEV
    | mounts.MOUNT_ATTR_NOEXEC
)
# The call came with Linux 5.12.
_NO_SETATTR = (errno.ENOSYS, errno.EPERM)


def mask(path: bytes) -> None:
    """Show nothing at `path`: no data of a file, no entries of a directory; absent is fine."""
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # the kernel was built without it, or hides it itself
        return
    if stat.S_ISDIR(mode):
        mounts.mount(b"tmpfs", path, b"tmpfs", QUIET | mounts.MS_RDONLY, b"mode=755")
    elif not stat.S_ISLNK(mode):
        mounts.mount(b"/dev/null", path, None, mounts.MS_BIND)


def show_read_only(path: bytes) -> None:
    """Let `path` be read but not changed, with all that is mounted below; absent is fine."""
    if not os.path.lexists(path):
        return
    mounts.mount(path, path, None, mounts.MS_BIND | mounts.MS_REC)
    make_read_only(path)


def make_read_only(path: bytes) -> None:
    """Make the mount at `path` read-only, with all that is mounted below it."""
    fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        mounts.mount_setattr(fd, _READ_ONLY, submounts=True)
    except OSError as error:
        if error.errno not in _NO_SETATTR:
            raise
        _make_each_read_only(os.path.realpath(path))
    finally:
        os.close(fd)


def _make_each_read_only(path: bytes) -> None:
    for target in (path, *(mount.target for mount in mountinfo.below(path))):
        kept = os.statvfs(target).f_flag & KEPT_FLAGS | QUIET
        flags = mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY
        mounts.mount(None, target, None, flags | kept)
