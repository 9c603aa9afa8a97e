"""Volumes that are mounted over the container's files, since its union cannot serve them.

Those are single files, and directories below what is mounted over the union: /dev, /proc, /sys.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import mounts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.union.values import Volume


_SYSTEM_MOUNTS = (b"/dev/", b"/proc/", b"/sys/")


class Parted(NamedTuple):
    """Volumes by what they are on the host."""

    directories: tuple[Volume, ...]  # and what is not there, which the union refuses by name
    files: tuple[Volume, ...]  # and directories below system mounts


class FileVolume(NamedTuple):
    """A file of the host, not mounted yet."""

    target: bytes
    clone_fd: int
    is_directory: bool = False

    def show(self) -> None:
        """Mount it, on a file that is made where none is; / has to be the container's."""
        target = os.path.realpath(self.target)
        os.makedirs(os.path.dirname(target), 0o755, exist_ok=True)
        if self.is_directory:
            os.makedirs(target, 0o755, exist_ok=True)
        elif not os.path.exists(target):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644))
        mounts.move_mount(self.clone_fd, target)
        os.close(self.clone_fd)


def part(volumes: Iterable[Volume]) -> Parted:
    """Tell directories and files apart."""
    found = [(volume, _is_file(volume.source) or _is_covered(volume)) for volume in volumes]
    return Parted(
        tuple(volume for volume, is_file in found if not is_file),
        tuple(volume for volume, is_file in found if is_file),
    )


def prepare(volumes: Iterable[Volume]) -> list[FileVolume]:
    """Open them while the host is in sight. A device or a socket of the host works inside."""
    return [
        FileVolume(
            volume.target,
            mounts.detached_clone(
                volume.source, read_only=volume.read_only, noatime=False, submounts=is_directory
            ),
            is_directory,
        )
        for volume, is_directory in ((each, os.path.isdir(each.source)) for each in volumes)
    ]


def _is_covered(volume: Volume) -> bool:
    place = os.path.normpath(volume.target) + b"/"
    return place.startswith(_SYSTEM_MOUNTS) and os.path.isdir(volume.source)


def _is_file(path: bytes) -> bool:
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False
