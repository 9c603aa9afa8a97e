"""The /dev of a container: a few harmless devices, terminals and shared memory of its own."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from overlayfs_py.containers import masks
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

# fuse: so that a container can stack layers itself. Who may open it is the host's decision.
_DEVICES = (b"null", b"zero", b"full", b"random", b"urandom", b"tty", b"fuse")
_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
_DEVPTS = b"newinstance,ptmxmode=0666,mode=0620"
_TTY_GROUP = b",gid=5"  # of Debian, Fedora and most others; a user namespace may not map it
_NO_QUEUES = (errno.ENODEV, errno.EPERM)  # the kernel was built without them, or keeps them


class Device(NamedTuple):
    """One of the host's, and its place below /dev."""

    source: bytes
    place: bytes

    @classmethod
    def parse(cls, text: str) -> Device:
        """Return what `HOST:/dev/PLACE` of a record means."""
        source, _, place = text.rpartition(":")
        return cls(os.fsencode(source), os.fsencode(place.removeprefix("/dev/")))

    def show(self) -> None:
        """Mount it; the container's /dev is the working directory, and the host is in sight.

        A directory shows what is in it.
        """
        parent = os.path.dirname(self.place)
        if parent:
            os.makedirs(parent, 0o755, exist_ok=True)
        if os.path.isdir(self.source):
            os.makedirs(self.place, 0o755, exist_ok=True)
        elif not os.path.lexists(self.place):
            Path(os.fsdecode(self.place)).touch()
        mounts.mount(self.source, self.place, None, mounts.MS_BIND)


def mount(
    enter: Callable[[], None],
    devices: Iterable[Device],
    *,
    privileged: bool,
    shm_bytes: int,
    ipc: str,
) -> None:
    """Mount it on the working directory; `ipc` is as records have it."""
    # A device that the container makes there is none: those below are mounts of their own, which
    # have the flags of the host's /dev.
    flags = mounts.MS_NOSUID | mounts.MS_NOEXEC | (0 if privileged else mounts.MS_NODEV)
    mounts.mount(b"tmpfs", b".", b"tmpfs", flags, b"mode=755")
    enter()
    for name in _DEVICES:
        if os.path.exists(b"/dev/" + name):
            Path(os.fsdecode(name)).touch()
            mounts.mount(b"/dev/" + name, name, None, mounts.MS_BIND)
    for link, target in _LINKS.items():
        Path(link).symlink_to(target)
    Path("pts").mkdir()
    _mount_pts()
    if ipc == "host":
        _show_hosts(b"shm", b"mqueue")
    else:
        if ipc != "none":
            Path("shm").mkdir()
            size = b",size=%d" % shm_bytes if shm_bytes else b""
            mounts.mount(b"tmpfs", b"shm", b"tmpfs", masks.QUIET, b"mode=1777" + size)
        _mount_queues()
    for device in devices:
        device.show()


def _show_hosts(*names: bytes) -> None:
    """Show what belongs to the host's IPC namespace."""
    for name in names:
        if os.path.isdir(b"/dev/" + name):
            os.mkdir(name)
            mounts.mount(b"/dev/" + name, name, None, mounts.MS_BIND)


def _mount_pts() -> None:
    flags = mounts.MS_NOSUID | mounts.MS_NOEXEC
    try:
        mounts.mount(b"devpts", b"pts", b"devpts", flags, _DEVPTS + _TTY_GROUP)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        mounts.mount(b"devpts", b"pts", b"devpts", flags, _DEVPTS)


def _mount_queues() -> None:
    Path("mqueue").mkdir()
    try:
        mounts.mount(b"mqueue", b"mqueue", b"mqueue", masks.QUIET)
    except OSError as error:
        if error.errno not in _NO_QUEUES:
            raise
        Path("mqueue").rmdir()
