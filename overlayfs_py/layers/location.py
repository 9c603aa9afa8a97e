"""Where a directory lies on its filesystem, whatever bind mounts and symbolic links lead to it.

Two paths can lead to one directory, and a bind mount hides that one directory lies in another: a
walk up by ".." ends at the mount's own parent. The place within the filesystem tells both. It is
the root of the mount there (proc(5), mountinfo) and the path below the mount point.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from overlayfs_py.late_import import late_pattern
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_ESCAPE = late_pattern(rb"\\([0-7]{3})")
_MOUNT_ID = late_pattern(rb"^mnt_id:\s*(\d+)$", re.MULTILINE)


class Location(NamedTuple):
    """One directory: equal for all paths that lead to it."""

    device: bytes
    path: bytes  # within the filesystem, b"" for its root

    def above(self) -> Iterator[Location]:
        """The directories that it lies in, nearest first."""
        path = self.path
        while path:
            path = path.rpartition(b"/")[0]
            yield Location(self.device, path)


class _Mount(NamedTuple):
    device: bytes
    root: bytes
    target: bytes


class Locations:
    """Where directories lie; the mounts are read once."""

    def __init__(self) -> None:
        """Read the mounts of this namespace; without /proc a path tells what it can."""
        self._mounts: dict[bytes, _Mount] = {}
        try:
            with open("/proc/self/mountinfo", "rb") as file:
                self._mounts = dict(map(_parse, file))
        except FileNotFoundError:
            pass

    def of(self, path: bytes) -> Location:
        """Return where the directory at `path` lies."""
        handle = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            mount = self._mounts.get(_mount_id(handle))
            real = os.path.realpath(path)
            if mount is not None and _is_below(real, mount.target):
                inside = mount.root.rstrip(b"/") + real[len(mount.target.rstrip(b"/")) :]
                return Location(mount.device, inside.rstrip(b"/"))
            return Location(b"%d" % os.fstat(handle).st_dev, real.rstrip(b"/"))
        finally:
            os.close(handle)


def _mount_id(handle: int) -> bytes:
    try:
        with open(f"/proc/self/fdinfo/{handle}", "rb") as file:
            found = _MOUNT_ID.search(file.read())
    except FileNotFoundError:
        return b""
    return b"" if found is None else found[1]


def _parse(line: bytes) -> tuple[bytes, _Mount]:
    fields = line.split(b" ")
    return fields[0], _Mount(fields[2], _unescape(fields[3]), _unescape(fields[4]))


def _unescape(field: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), field)


def _is_below(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")
