"""The files of an image written into a directory with all that they are: owners, xattrs, devices.

For root, and for a directory that nobody else may enter.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.builds.local_output import Writing, write_data
from overlayfs_py.containers.tree import place_of
from overlayfs_py.syscalls import files as file_calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles, Path

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ExactWriting(Writing):
    """Writes files as an image shows them, but for those that are left out."""

    def __init__(
        self,
        files: ImageFiles,
        target: bytes,
        is_left_out: Callable[[Path], bool] = lambda _: False,
    ) -> None:
        """Write to `target`, which is empty."""
        super().__init__(files, target)
        self._is_left_out = is_left_out

    def describe_directories(self) -> None:
        super().describe_directories()
        self.describe(self._files.root(), self._directory(()))

    def write(self, file: ImageFile) -> None:
        if self._is_left_out(file.path):
            return
        super().write(file)
        kind = stat.S_IFMT(file.attributes.mode)
        if kind in (stat.S_IFDIR, stat.S_IFREG):
            return
        parent_fd, name = self._directory(file.path[:-1]), file.path[-1]
        if kind != stat.S_IFLNK:
            os.mknod(name, kind | 0o600, file.attributes.rdev, dir_fd=parent_fd)
        self._describe_name(file, parent_fd, name)

    def make_room(self, parent_fd: int, name: bytes) -> None:
        """There is nothing: the directory was empty."""

    def describe(self, file: ImageFile, fd: int) -> None:
        describe(self._files, file, fd)

    def _describe_name(self, file: ImageFile, fd: int, name: bytes) -> None:
        """The same for what cannot be opened without harm."""
        found = file.attributes
        os.chown(name, found.uid, found.gid, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISLNK(found.mode):
            file_calls.chmod(fd, name, stat.S_IMODE(found.mode))
        for key, value in self._files.xattrs(file).items():
            os.setxattr(place_of(fd, name), key, value, follow_symlinks=False)
        times = (found.mtime_ns, found.mtime_ns)
        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)


def describe(files: ImageFiles, file: ImageFile, fd: int) -> None:
    """Give an open file or directory the attributes of an image's."""
    found = file.attributes
    os.fchown(fd, found.uid, found.gid)
    os.fchmod(fd, stat.S_IMODE(found.mode))  # which chown(2) has changed
    for key, value in files.xattrs(file).items():
        os.setxattr(fd, key, value)
    os.utime(fd, ns=(found.mtime_ns, found.mtime_ns))


def write_file(files: ImageFiles, file: ImageFile, place: bytes) -> None:
    """Write one regular file to a path of the host."""
    fd = os.open(place, _NEW_FILE, 0o600)
    try:
        write_data(files, file, fd)
        describe(files, file, fd)
    finally:
        os.close(fd)
