"""Mount an empty FUSE filesystem and take it away again: the only proof that mounting works."""

from __future__ import annotations

import os
import struct
import tempfile
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers import user_namespace
from overlayfs_py.drivers import mounting
from overlayfs_py.drivers.mounting import MountPlan
from overlayfs_py.mounts import children

if TYPE_CHECKING:
    from overlayfs_py.mounts.children import Report

# The first request: struct fuse_in_header, 40 bytes, then fuse_init_in, which begins with these.
_VERSION = struct.Struct("=40xII")
_SMALLEST_BUFFER = 8192  # FUSE_MIN_READ_BUFFER: the kernel sends nothing into a smaller one


class Way(Enum):
    """How a user may come to a mount."""

    AS_THIS_USER = "as this user"  # mount(2) for root, fusermount3 for others
    USER_NAMESPACE = "in a user namespace"


class Protocol(NamedTuple):
    """The version that the kernel speaks on /dev/fuse."""

    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


def try_mount(way: Way, temporary: bytes) -> Protocol:
    """Mount on a new directory below `temporary` and return what the kernel says.

    Nobody sees the mount, unless fusermount3 made it: then it is there for a moment.

    Raises:
        Failure: why it does not work.
    """

    def mount(report: Report) -> None:
        if way is Way.USER_NAMESPACE:
            user_namespace.enter()
        if user_namespace.may_mount():
            user_namespace.part_mounts()
        report.ready(_mount_and_read(target))

    target = tempfile.mkdtemp(prefix=b"overlayfs-py-", dir=temporary)
    try:
        child = children.start(mount)
        words = child.ready()
        child.wait()
    finally:
        os.rmdir(target)
    major, minor = words.split(b".")
    return Protocol(int(major), int(minor))


def _mount_and_read(target: bytes) -> bytes:
    mounted = mounting.mount(MountPlan(target, allow_other=False))
    try:
        request = os.read(mounted.fd, _SMALLEST_BUFFER)
    finally:
        # First: unmounting would wait for an answer from whoever reads here.
        os.close(mounted.fd)
        mounted.unmount()
    return b"%d.%d" % _VERSION.unpack_from(request)
