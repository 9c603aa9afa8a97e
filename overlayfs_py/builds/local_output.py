"""The files of an image written into a directory of the host, as `--output type=local` has it.

Every object is made below a directory descriptor by one component, and none is followed: what is
written stays below the directory, whatever the image says, and whichever process changes it
meanwhile. What is there under another name stays; owners are the caller's, as docker has it.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.descriptors import DescriptorCache
from overlayfs_py.union.remove_tree import remove_tree

if TYPE_CHECKING:
    from overlayfs_py.containers.image_files import ImageFile, ImageFiles, Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORIES = 64
_OWNERS_BITS = 0o700  # so that the caller may write what is in it


def write_files(files: ImageFiles, target: bytes) -> None:
    """Write all files; devices and the like are left out.

    Raises:
        OSError: naming what cannot be made. What was written before stays.
    """
    os.makedirs(target, exist_ok=True)
    writing = Writing(files, target)
    try:
        writing.write_all()
        writing.describe_directories()
    finally:
        writing.close()


class Writing:
    """Writes the files of an image below a directory."""

    def __init__(self, files: ImageFiles, target: bytes) -> None:
        """Open the directory; the caller calls `close`."""
        self._files = files
        self._target = target
        self._root_fd = os.open(target, _DIRECTORY & ~os.O_NOFOLLOW)
        self._open: DescriptorCache[int] = DescriptorCache(_OPEN_DIRECTORIES, os.close)
        self._linked: dict[int, Path] = {}  # the first path of each file with several
        self._directories: list[ImageFile] = []

    def write_all(self) -> None:
        """Write all but the attributes of directories."""
        for file in self._files.walk():
            if file.path:
                self._write_named(file)

    def describe_directories(self) -> None:
        """Give directories their attributes: for last.

        What is in a directory changes its time, and may need rights that it shall not have.
        """
        for directory in reversed(self._directories):
            self.describe(directory, self._directory(directory.path))

    def close(self) -> None:
        """Close what is open."""
        self._open.clear()
        os.close(self._root_fd)

    def _write_named(self, file: ImageFile) -> None:
        try:
            self.write(file)
        except OSError as error:
            error.filename = os.path.join(self._target, *file.path)
            raise

    def write(self, file: ImageFile) -> None:
        """Write one; devices and the like are left out."""
        name, parent_fd = file.path[-1], self._directory(file.path[:-1])
        kind = stat.S_IFMT(file.attributes.mode)
        if kind == stat.S_IFDIR:
            self._make_directory(parent_fd, name)
            self._directories.append(file)
        elif kind == stat.S_IFLNK:
            self.make_room(parent_fd, name)
            os.symlink(self._files.read_link(file), name, dir_fd=parent_fd)
        elif kind == stat.S_IFREG:
            self.make_room(parent_fd, name)
            self._make_file(file, parent_fd, name)

    def _make_directory(self, parent_fd: int, name: bytes) -> None:
        try:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
                return
            os.unlink(name, dir_fd=parent_fd)
        except FileNotFoundError:
            pass
        os.mkdir(name, _OWNERS_BITS, dir_fd=parent_fd)

    def _make_file(self, file: ImageFile, parent_fd: int, name: bytes) -> None:
        if file.attributes.nlink > 1:
            first = self._linked.setdefault(file.attributes.ino, file.path)
            if first != file.path:
                first_fd = self._directory(first[:-1])
                os.link(first[-1], name, src_dir_fd=first_fd, dst_dir_fd=parent_fd)
                return
        fd = os.open(name, _NEW_FILE, 0o600, dir_fd=parent_fd)
        try:
            write_data(self._files, file, fd)
            self.describe(file, fd)
        finally:
            os.close(fd)

    def make_room(self, parent_fd: int, name: bytes) -> None:
        """Remove what is in the place of something that is no directory."""
        try:
            remove_tree(parent_fd, name)
        except FileNotFoundError:
            return

    def describe(self, file: ImageFile, fd: int) -> None:
        """Give an open file or directory its attributes."""
        os.fchmod(fd, stat.S_IMODE(file.attributes.mode))
        time_ns = file.attributes.mtime_ns
        os.utime(fd, ns=(time_ns, time_ns))

    def _directory(self, path: Path) -> int:
        """Return a directory's descriptor, which is the cache's."""
        if not path:
            return self._root_fd
        fd = self._open.find(path)
        if fd is None:
            fd = os.open(path[-1], _DIRECTORY, dir_fd=self._directory(path[:-1]))
            self._open.put(path, fd)
        return fd


def write_data(files: ImageFiles, file: ImageFile, fd: int) -> None:
    """Write the data of a regular file into a new one, with its holes."""
    ends_in_hole = False
    for piece in files.pieces(file):
        ends_in_hole = isinstance(piece, int)
        if isinstance(piece, int):
            os.lseek(fd, piece, os.SEEK_CUR)
            continue
        rest = memoryview(piece)
        while rest:
            rest = rest[os.write(fd, rest) :]
    if ends_in_hole:
        os.ftruncate(fd, file.attributes.size)
