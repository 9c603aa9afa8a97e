"""The files that a RUN finds where nothing can be mounted: a copy of all that its layers show.

What would be mounted lies in its place in the copy instead, and is no change of the command's,
whatever that does to it: /dev, /proc, /sys, the names of hosts, the mounts of the step.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.builds.exact_files import ExactWriting, write_file
from overlayfs_py.builds.failures import BuildFailure
from overlayfs_py.builds.run_mounts import FileMount, HostMount, MemoryMount, TreeMount
from overlayfs_py.containers.image_files import ImageFiles, shown
from overlayfs_py.containers.tree import DIRECTORY, Tree
from overlayfs_py.syscalls import files as file_calls

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from overlayfs_py.builds.run_mounts import RunMount
    from overlayfs_py.containers.image_files import Path

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SYSTEM = (b"dev", b"proc", b"sys")
_NAME_FILES = (b"hostname", b"hosts", b"resolv.conf")
# linux/Documentation/admin-guide/devices.txt
_DEVICES = {
    b"null": (1, 3),
    b"zero": (1, 5),
    b"full": (1, 7),
    b"random": (1, 8),
    b"urandom": (1, 9),
    b"tty": (5, 0),
}
_LINKS = {b"fd": "", b"stdin": "/0", b"stdout": "/1", b"stderr": "/2"}
_SHARED_MODE = 0o1777


class PrivateTree:
    """A directory with all that layers show, and in it what a command expects to be mounted."""

    def __init__(self, root: bytes, image: ImageFiles, names: bytes) -> None:
        """Use the empty directory `root`; `names` holds the files that names of hosts are in."""
        self._root = root
        self._image = image
        self._names = names
        self._mounts: dict[Path, RunMount] = {}
        self._name_files: dict[Path, bytes] = {}  # by place, what it is called
        self._covered: set[Path] = {(name,) for name in _SYSTEM}

    @property
    def covered(self) -> Collection[Path]:
        """What is no part of the layers, whatever is there."""
        return self._covered

    def make(self, mounts: Mapping[Path, RunMount]) -> None:
        """Make all of it; the mounts have places in the image.

        Raises:
            BuildFailure: what is to be mounted cannot be there.
            OSError: naming what cannot be made.
        """
        self._mounts = dict(mounts)
        self._name_files = self._places_of_names()
        self._covered |= {*self._mounts, *self._name_files}
        self._require_places()
        writing = ExactWriting(self._image, self._root, self._is_left_out)
        try:
            self._make(writing)
        finally:
            writing.close()

    def give_back(self, scratch: bytes) -> None:
        """Let cache mounts be what the command has made of them; it has ended, and all it left.

        Each by one rename: whoever looks, and whatever kills us, finds the one of before or this.
        `scratch` is an empty directory, which has what they were then.

        Raises:
            OSError: naming what cannot be given back.
        """
        root_fd = os.open(self._root, DIRECTORY)
        try:
            with Tree(root_fd) as tree:
                for number, (path, mount) in enumerate(self._mounts.items()):
                    if isinstance(mount, HostMount) and not mount.read_only:
                        _give_back(tree, path, mount.source, os.path.join(scratch, b"%d" % number))
        finally:
            os.close(root_fd)

    def _make(self, writing: ExactWriting) -> None:
        writing.write_all()
        self._fill_dev()
        for path, source in self._name_files.items():
            with open(os.path.join(self._names, source), "rb") as file:
                _write_file(self._host_path(path), file.read(), 0o644)
        for path, mount in self._mounts.items():
            self._fill(path, mount)
        writing.describe_directories()

    def _is_left_out(self, path: Path) -> bool:
        """Whether the image's own is not shown: what is covered, and all below."""
        covered = self.covered
        if path in covered:
            return len(path) > 1 or path[0] not in _SYSTEM
        return any(path[:end] in covered for end in range(1, len(path)))

    def _host_path(self, path: Path) -> bytes:
        return os.path.join(self._root, *path)

    def _places_of_names(self) -> dict[Path, bytes]:
        """Where /etc/hosts and its like are; one that is no file stays what it is."""
        found = {}
        for name in _NAME_FILES:
            try:
                place = self._image.find((b"etc", name), follow=True)
            except OSError:
                continue
            if stat.S_ISREG(place.attributes.mode):
                found[place.path] = name
        return found

    def _require_places(self) -> None:
        for name in _SYSTEM:
            if not stat.S_ISDIR(self._image.find((name,)).attributes.mode):
                raise BuildFailure(shown((name,)), "no directory in the image")
        for path in self._mounts:
            for other in self.covered:
                if path != other and path[: len(other)] == other and other != (b"dev",):
                    why = f"a mount below {os.fsdecode(shown(other))} needs another isolation"
                    raise BuildFailure(shown(path), why)

    def _fill_dev(self) -> None:
        dev = self._host_path((b"dev",))
        for name, numbers in _DEVICES.items():
            path = os.path.join(dev, name)
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(*numbers))
            os.chmod(path, 0o666)
        for name, below in _LINKS.items():
            os.symlink(f"/proc/self/fd{below}".encode(), os.path.join(dev, name))
        for directory, mode in ((b"shm", _SHARED_MODE), (b"pts", 0o755)):
            os.mkdir(os.path.join(dev, directory))
            os.chmod(os.path.join(dev, directory), mode)

    def _fill(self, path: Path, mount: RunMount) -> None:
        place = self._host_path(path)
        match mount:
            case HostMount():
                with ImageFiles.of_directory(mount.source) as files:
                    _copy(files, b"/", place)
            case TreeMount():
                with ImageFiles((), below=mount.lower) as files:
                    _copy(files, mount.source, place)
            case MemoryMount():
                os.mkdir(place)
                os.chmod(place, _SHARED_MODE)
            case FileMount():
                os.makedirs(os.path.dirname(place), exist_ok=True)
                _write_file(place, mount.content, mount.mode, mount.uid, mount.gid)


def _give_back(tree: Tree, path: Path, data: bytes, spare: bytes) -> None:
    try:
        os.rename(path[-1], spare, src_dir_fd=tree.fd(path[:-1]))  # which follows no link
        if not stat.S_ISDIR(os.lstat(spare).st_mode):
            return  # something that the command has put there instead
    except (FileNotFoundError, NotADirectoryError):
        return  # the command has removed it, or moved it away: what was there stays
    file_calls.exchange(spare, data)


def _copy(files: ImageFiles, source: bytes, place: bytes) -> None:
    """Copy a tree, or one file."""
    if source == b"/":
        os.mkdir(place)
        writing = ExactWriting(files, place)
        try:
            writing.write_all()
            writing.describe_directories()
        finally:
            writing.close()
    else:
        write_file(files, files.find((source.lstrip(b"/"),)), place)


def _write_file(path: bytes, content: bytes, mode: int, uid: int = 0, gid: int = 0) -> None:
    with open(os.open(path, _NEW_FILE, 0o600), "wb") as out:
        out.write(content)
        os.fchown(out.fileno(), uid, gid)
        os.fchmod(out.fileno(), mode)
