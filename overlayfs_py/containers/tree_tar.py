"""A file, or a tree of them, as a tar: what `cp` reads, here or in a container."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers.tree import DIRECTORY, Tree, place_of
from overlayfs_py.tars.members import Hole, Kind, Member
from overlayfs_py.tars.writer import TarWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.tars.paths import Path

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}
_DEVICES = (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
# A pipe that is put in a file's place must not make this wait.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CHUNK_BYTES = 1 << 18
_UNREADABLE = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENODATA)
_ITSELF = b"."


class Source(NamedTuple):
    """What to read."""

    parent_fd: int  # the directory that it is in
    name: bytes  # there; `.` is that directory itself
    path: Path  # what it is called in the tar; () for a directory's content
    spoken: bytes  # as the user named it, for errors


def write_tar(source: Source, write: Callable[[bytes | memoryview], object]) -> None:
    """Write all of it, by name, a directory before what is in it; sockets have no place in a tar.

    No symbolic link is followed. What processes change meanwhile may show or not.

    Raises:
        OSError: naming what cannot be read. What was written is then no tar.
    """
    _Reading(source, TarWriter(write)).run()


class _Reading:
    def __init__(self, source: Source, tar: TarWriter) -> None:
        self._source = source
        self._tar = tar
        self._linked: dict[tuple[int, int], Path] = {}  # the first path of a file with several

    def run(self) -> None:
        source = self._source
        with self._naming(()):
            status = os.stat(source.name, dir_fd=source.parent_fd, follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                root_fd = os.open(source.name, DIRECTORY, dir_fd=source.parent_fd)
            else:
                self._add(source.parent_fd, source.name, status, ())
        if stat.S_ISDIR(status.st_mode):
            try:
                with Tree(root_fd) as tree:
                    self._walk(tree)
            finally:
                os.close(root_fd)
        self._tar.finish()

    def _walk(self, tree: Tree) -> None:
        # No recursion: trees may be deeper than Python's stack.
        with self._naming(()):
            self._add(tree.fd(()), _ITSELF, os.fstat(tree.fd(())), ())
        pending: list[Path] = [()]
        while pending:
            directory = pending.pop()
            with self._naming(directory):
                names = sorted(map(os.fsencode, os.listdir(tree.fd(directory))))
            below = []
            for name in names:
                path = (*directory, name)
                with self._naming(path):
                    if self._add_name(tree.fd(directory), name, path):
                        below.append(path)
            pending += reversed(below)

    def _add_name(self, fd: int, name: bytes, path: Path) -> bool:
        """Add what has a name in a directory; whether it is a directory."""
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:  # removed meanwhile
            return False
        self._add(fd, name, status, path)
        return stat.S_ISDIR(status.st_mode)

    def _add(self, fd: int, name: bytes, status: os.stat_result, path: Path) -> None:
        kind = _KINDS.get(stat.S_IFMT(status.st_mode))
        if kind is None:
            return
        whole = (*self._source.path, *path)
        if kind is not Kind.DIRECTORY and status.st_nlink > 1:
            first = self._linked.setdefault((status.st_dev, status.st_ino), whole)
            if first != whole:
                self._tar.add(_member(status, Kind.HARD_LINK, whole)._replace(link=first))
                return
        if kind is Kind.FILE:
            self._add_file(fd, name, whole)
            return
        member = _member(status, kind, whole)._replace(xattrs=_xattrs(place_of(fd, name)))
        if kind is Kind.SYMLINK:
            member = member._replace(target=os.readlink(name, dir_fd=fd))
        self._tar.add(member)

    def _add_file(self, dir_fd: int, name: bytes, path: Path) -> None:
        fd = os.open(name, _READ, dir_fd=dir_fd)
        try:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(errno.ESTALE, "it was replaced while it was read")
            member = _member(status, Kind.FILE, path)
            member = member._replace(size=status.st_size, xattrs=_xattrs(fd))
            self._tar.add(member, _data(fd, status.st_size))
        finally:
            os.close(fd)

    @contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        """Let an error say which file it is about."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            place = b"/".join((self._source.spoken.rstrip(b"/"), *path)) or b"/"
            raise OSError(error.errno, error.strerror, place) from error


def _member(status: os.stat_result, kind: Kind, path: Path) -> Member:
    return Member(
        path,
        kind,
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        rdev=status.st_rdev if kind in _DEVICES else 0,
    )


def _data(fd: int, size: int) -> Iterator[bytes | Hole]:
    """Yield `size` bytes: a writer may change the file's length meanwhile."""
    left = size
    while left:
        piece = os.read(fd, min(_CHUNK_BYTES, left))
        if not piece:
            yield Hole(left)
            return
        yield piece
        left -= len(piece)


def _xattrs(place: int | bytes) -> tuple[tuple[bytes, bytes], ...]:
    follows = isinstance(place, int)
    try:
        names = sorted(os.listxattr(place, follow_symlinks=follows))
        return tuple(
            (os.fsencode(name), os.getxattr(place, name, follow_symlinks=follows)) for name in names
        )
    except OSError as error:
        if error.errno not in _UNREADABLE:
            raise
        return ()
