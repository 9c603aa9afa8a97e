"""Opening a layer's root so that neither a write nor an access time can reach the layer."""

from __future__ import annotations

import errno
import os
import re
import stat
from contextlib import ExitStack

from overlayfs_py.syscalls import mounts

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Without the right to clone a mount, or to change how it keeps access times (a user namespace
# may not change what it inherited), or with mounts below it that we must not uncover.
_NOT_ALLOWED = (errno.EPERM, errno.EINVAL, errno.ENOSYS)


def open_layer_root(path: bytes) -> int:
    """Open a directory for reading; the caller owns the descriptor.

    A private clone of its mount is read-only and keeps no access times, and the union itself,
    which may be mounted below the layer, never is part of it. Nor are other mounts, where the
    kernel lets us leave them out. Who may not clone mounts opens the directory as it is.
    """
    _require_directory(path)
    for submounts in (False, True):
        for noatime in (True, False):
            fd = _open_clone(path, read_only=True, noatime=noatime, submounts=submounts)
            if fd is not None:
                return fd
    return os.open(path, _OPEN)


def open_volume_root(path: bytes) -> int:
    """Open a directory with all that is mounted in it; the caller owns the descriptor.

    A private clone never shows what is mounted there later, least of all the union itself, whose
    server would then wait for its own answer. Who may not clone mounts gets the directory as it is.
    """
    _require_directory(path)
    fd = _open_clone(path, read_only=False, noatime=False, submounts=True)
    return os.open(path, _OPEN) if fd is None else fd


class MountClone:
    """A private clone of a mount, from a directory on.

    What is open there does not keep the mount itself busy, as under kernel overlayfs: whoever has
    unmounted the union unmounts next what it lay on, before the daemon may have ended. Files can be
    renamed within one clone, and not to another.
    """

    def __init__(self, above: bytes, fd: int) -> None:
        """Take over `fd`, the clone of the directory `above`."""
        self._above = above
        self._fd = fd

    def close(self) -> None:
        """Close it; what was opened in it stays open."""
        os.close(self._fd)

    def reopen(self, fds: list[int], paths: list[bytes]) -> list[int]:
        """Return descriptors of the same directories in the clone.

        Takes over `fds`, and returns them where the directories are not in it.
        """
        reopened: list[int] = []
        with ExitStack() as rest:
            for fd, path in zip(fds, paths, strict=True):
                relative = os.path.relpath(os.path.realpath(path), self._above)
                if relative.startswith(b".."):
                    return fds
                try:
                    again = os.open(relative, _OPEN, dir_fd=self._fd)
                except OSError:  # below another mount, which the clone leaves out
                    return fds
                rest.callback(os.close, again)
                if not os.path.sameopenfile(fd, again):
                    return fds
                reopened.append(again)
            rest.pop_all()
        for fd in fds:
            os.close(fd)
        return reopened


def clone_around(paths: list[bytes]) -> MountClone | None:
    """Clone the mount of some paths from the directory on that all are in; None where none may."""
    above = os.path.commonpath([os.path.realpath(path) for path in paths])
    clone_fd = _detached(above)
    return None if clone_fd is None else MountClone(above, clone_fd)


def _detached(path: bytes) -> int | None:
    try:
        return mounts.detached_clone(path, read_only=False, noatime=False)
    except OSError as error:
        if error.errno not in _NOT_ALLOWED:
            raise
        return None


def _require_directory(path: bytes) -> None:
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)


def _open_clone(path: bytes, *, read_only: bool, noatime: bool, submounts: bool) -> int | None:
    try:
        clone_fd = mounts.detached_clone(
            path, read_only=read_only, noatime=noatime, submounts=submounts
        )
    except OSError as error:
        if error.errno not in _NOT_ALLOWED:
            raise
        return None
    try:
        # The clone's own descriptor is O_PATH; one that lists keeps the clone alive as well.
        return os.open(b".", _OPEN, dir_fd=clone_fd)
    finally:
        os.close(clone_fd)


def is_idmapped(path: bytes) -> bool:
    """Whether the mount at `path` shows other owners than lie on disk (mount_setattr(2))."""
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        with open(f"/proc/self/fdinfo/{handle}") as file:
            info = file.read()
    finally:
        os.close(handle)
    found = re.search(r"^mnt_id:\s*(\d+)$", info, re.MULTILINE)
    return found is not None and "idmapped" in _mount_options(found[1])


def _mount_options(mount_id: str) -> list[str]:
    """The options of one mount of this namespace, as proc(5) lists them."""
    with open("/proc/self/mountinfo", errors="surrogateescape") as lines:
        for line in lines:
            fields = line.split(" ")
            if fields[0] == mount_id:
                return fields[5].split(",")
    return []
