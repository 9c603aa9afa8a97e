"""/proc, /dev and /sys of a container, and its root in place of the host's.

Plan: all of it happens in the container's own mount namespace, before its first process runs.
Paths inside the image are never walked on the host: a mount point is one component below the root's
descriptor, opened without following links, and mounted upon as the working directory.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.errors import Failure
from overlayfs_py.syscalls import mounts, namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

# fuse: so that a container can stack layers itself. Who may open it is the host's decision.
_DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"fuse")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_QUIET = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_DEVPTS = b"newinstance,ptmxmode=0666,mode=0620"
_TTY_GROUP = b",gid=5"  # of Debian, Fedora and most others; a user namespace may not map it
# What a remount must repeat: a user namespace may not take flags away (mount_namespaces(7)).
_KEPT_FLAGS = _QUIET | mounts.MS_NOATIME | mounts.MS_NODIRATIME


def enter_root(root: bytes) -> None:
    """Make the mount at `root` the root of this process, with /proc, /dev and /sys in it.

    To be called as the first process of its pid namespace, in a mount namespace of its own. The
    host's mounts are out of sight afterwards.

    Raises:
        Failure: the image has something else than a directory where one is needed, or the kernel
            refuses a mount.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # /proc first, while the host's is in sight: without that the kernel refuses a new one in
        # a user namespace (fs/namespace.c, mount_too_revealing).
        for name, fill in (("proc", _mount_proc), ("sys", _mount_sys), ("dev", _mount_dev)):
            with _about(f"/{name}"):
                _make_mountpoint(root_fd, name)
                _enter(root_fd, name)
                fill(root_fd)
        os.fchdir(root_fd)
    finally:
        os.close(root_fd)
    with _about("/"):
        # The old root ends up on top of the new one, and "." is it (pivot_root(2), NOTES).
        namespaces.pivot_root(b".", b".")
        mounts.umount(b".", mounts.MNT_DETACH)
    os.chdir("/")


@contextmanager
def _about(place: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Failure(f"{place}: cannot be set up in the container: {error.strerror}") from error


def _make_mountpoint(root_fd: int, name: str) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=root_fd)
    except FileExistsError:
        return


def _enter(parent_fd: int, name: str) -> None:
    """Change to the directory, or to what is mounted on it."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=parent_fd)
    try:
        os.fchdir(fd)
    finally:
        os.close(fd)


def _mount_proc(_root_fd: int) -> None:
    try:
        mounts.mount(b"proc", b".", b"proc", _QUIET)
    except PermissionError:
        # The host's /proc is masked in part, as in a container: its own view is all there is.
        mounts.mount(b"/proc", b".", None, mounts.MS_BIND | mounts.MS_REC)


def _mount_sys(root_fd: int) -> None:
    # A new sysfs would need a network namespace of our own.
    mounts.mount(b"/sys", b".", None, mounts.MS_BIND | mounts.MS_REC)
    _enter(root_fd, "sys")
    kept = os.statvfs(".").f_flag & _KEPT_FLAGS
    read_only = mounts.MS_REMOUNT | mounts.MS_BIND | mounts.MS_RDONLY
    mounts.mount(None, b".", None, read_only | kept)


def _mount_dev(root_fd: int) -> None:
    mounts.mount(b"tmpfs", b".", b"tmpfs", mounts.MS_NOSUID | mounts.MS_NOEXEC, b"mode=755")
    _enter(root_fd, "dev")
    for name in _DEVICES:
        if Path("/dev", os.fsdecode(name)).exists():
            Path(os.fsdecode(name)).touch()
            mounts.mount(b"/dev/" + name, name, None, mounts.MS_BIND)
    for link, target in _LINKS.items():
        Path(link).symlink_to(target)
    Path("pts").mkdir()
    _mount_pts()
    Path("shm").mkdir()
    mounts.mount(b"tmpfs", b"shm", b"tmpfs", _QUIET, b"mode=1777")


def _mount_pts() -> None:
    flags = mounts.MS_NOSUID | mounts.MS_NOEXEC
    try:
        mounts.mount(b"devpts", b"pts", b"devpts", flags, _DEVPTS + _TTY_GROUP)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        mounts.mount(b"devpts", b"pts", b"devpts", flags, _DEVPTS)
