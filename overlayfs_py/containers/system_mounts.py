"""/proc, /dev and /sys of a container, and its root in place of the host's.

Plan: all of it happens in the container's own mount namespace, before its first process runs.
Paths inside the image are never walked on the host: a mount point is one component below the root's
descriptor, opened without following links, and mounted upon as the working directory.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from overlayfs_py.containers import device_mounts, proc_mount, sys_mount
from overlayfs_py.errors import Failure
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import mounts, namespaces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.containers.device_mounts import Device

_Result = TypeVar("_Result")


class SystemMounts(NamedTuple):
    """What /proc, /dev and /sys of a container show."""

    privileged: bool = False
    shm_bytes: int = 0  # what /dev/shm may hold; 0: half of the memory
    ipc: str = "private"  # or `none`: without /dev/shm; or `host`
    devices: tuple[Device, ...] = ()
    has_own_network: bool = False
    has_own_cgroups: bool = False  # a namespace of them


_PLAIN = SystemMounts()


def enter_root(root: bytes, asked: SystemMounts = _PLAIN) -> str | None:
    """Make the mount at `root` the root of this process, with /proc, /dev and /sys in it.

    To be called as the first process of its pid namespace, in a mount namespace of its own. The
    host's mounts are out of sight afterwards. Unless `privileged` is asked for, nothing of the
    kernel's can be changed through /proc and /sys. Returns what the user has to know, if anything
    is missing.

    Raises:
        Failure: the image has something else than a directory where one is needed, or the kernel
            refuses a mount.
    """
    root_fd = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # /proc first, while the host's is in sight: without that the kernel refuses a new one in
        # a user namespace (fs/namespace.c, mount_too_revealing).
        limit = _fill(
            root_fd, "proc", lambda again: proc_mount.mount(again, privileged=asked.privileged)
        )
        _fill(
            root_fd,
            "sys",
            lambda again: sys_mount.mount(
                again,
                privileged=asked.privileged,
                is_new=asked.has_own_network,
                has_own_cgroups=asked.has_own_cgroups,
            ),
        )
        _fill(
            root_fd,
            "dev",
            lambda again: device_mounts.mount(
                again,
                asked.devices,
                privileged=asked.privileged,
                shm_bytes=asked.shm_bytes,
                ipc=asked.ipc,
            ),
        )
        os.fchdir(root_fd)
    finally:
        os.close(root_fd)
    with about("/"):
        # The old root ends up on top of the new one, and "." is it (pivot_root(2), NOTES).
        namespaces.pivot_root(b".", b".")
        mounts.umount(b".", mounts.MNT_DETACH)
    os.chdir("/")
    return limit


def _fill(root_fd: int, name: str, fill: Callable[[Callable[[], None]], _Result]) -> _Result:
    """Call `fill` in the directory; what it gets enters the directory again, what covers it too."""
    with about(f"/{name}"):
        _make_mountpoint(root_fd, name)
        _enter(root_fd, name)
        return fill(lambda: _enter(root_fd, name))


@contextmanager
def about(place: str) -> Iterator[None]:
    """Let an error be the failure of a place in the container."""
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
