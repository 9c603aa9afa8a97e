"""A directory of the host as a context.

Every object is reached by its parent's descriptor and one name, and no symbolic link is followed:
whatever another process renames or replaces meanwhile, nothing outside is read. What is opened has
to be the inode that was seen.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Self, cast

from overlayfs_py.builds.context import Item, shown
from overlayfs_py.builds.failures import BadContext, ChangedMeanwhile
from overlayfs_py.layers.descriptors import DescriptorCache
from overlayfs_py.layers.reader import data_extents
from overlayfs_py.layers.xattrs import list_xattrs_of
from overlayfs_py.packs.values import Hole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from overlayfs_py.builds.context import Path
    from overlayfs_py.packs.values import DataOrHole

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO that took a file's place must not make us wait, nor a terminal become ours.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OPEN_DIRECTORIES = 64
_STEP = 1 << 20  # bytes of a read
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# What an image means, and what every user of the host sees alike: labels of the host's own
# security modules (security.selinux), trusted.* and ACLs stay where they are, as buildah has it.
_KEPT_XATTR = b"security.capability"
_KEPT_NAMESPACE = b"user."
# A file that changed this short a time before it was read may change again and keep its stamp: the
# kernel's clock for files ticks every 10 ms at least, and a few filesystems count in seconds.
_TICK_NS = 20_000_000
_COARSE_TICK_NS = 2_000_000_000
_SECOND_NS = 1_000_000_000


class HostContext:
    """A directory of the host; all that is in it belongs to root in an image, as docker has it."""

    def __init__(self, path: bytes, name: str = "") -> None:
        """Open the directory.

        Raises:
            BadContext: there is none.
        """
        self.name = name or os.fsdecode(path)
        try:
            self._root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise BadContext(path, f"cannot be a context: {error.strerror}") from error
        self._descriptors: DescriptorCache[int] = DescriptorCache(_OPEN_DIRECTORIES, os.close)
        self.root = _item((), os.fstat(self._root_fd))

    @property
    def stats_name(self) -> str:
        status = os.fstat(self._root_fd)
        return f"dir-{status.st_dev:x}-{status.st_ino:x}"

    def close(self) -> None:
        self._descriptors.clear()
        os.close(self._root_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def children(self, directory: Item) -> list[Item]:
        fd = self._directory(directory.path, directory)
        path = directory.path
        found = []
        with os.scandir(fd) as entries:
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    raise ChangedMeanwhile(shown((*path, os.fsencode(entry.name)))) from None
                found.append(_item((*path, os.fsencode(entry.name)), status))
        found.sort(key=_name)
        return found

    def look(self, directory: Item, name: bytes) -> Item | None:
        fd = self._directory(directory.path, directory)
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in {*_GONE, errno.ENAMETOOLONG}:
                return None
            raise
        return _item((*directory.path, name), status)

    def read_link(self, item: Item) -> bytes:
        fd = self._directory(item.path[:-1])
        try:
            target = os.readlink(item.path[-1], dir_fd=fd)
        except OSError as error:
            if error.errno == errno.EINVAL:  # a link no more
                raise ChangedMeanwhile(shown(item.path)) from error
            raise self._failure(item, error) from error
        self._require_same(item, os.stat(item.path[-1], dir_fd=fd, follow_symlinks=False))
        return target

    def xattrs(self, item: Item) -> Mapping[bytes, bytes]:
        try:
            return self._xattrs(item)
        except OSError as error:
            raise self._failure(item, error) from error

    def _xattrs(self, item: Item) -> Mapping[bytes, bytes]:
        if item.path:
            place = b"/proc/self/fd/%d/%s" % (self._directory(item.path[:-1]), item.path[-1])
        else:
            place = b"/proc/self/fd/%d/." % self._root_fd
        try:
            names = list_xattrs_of(place, follow=False)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:  # a filesystem without any
                return {}
            raise
        kept = sorted(name for name in names if _is_kept(name))
        return {name: os.getxattr(place, name, follow_symlinks=False) for name in kept}

    def data(self, item: Item) -> Iterator[DataOrHole]:
        try:
            fd = os.open(item.path[-1], _FILE, dir_fd=self._directory(item.path[:-1]))
        except OSError as error:
            raise self._failure(item, error) from error
        try:
            self._require_same(item, os.fstat(fd))
            yield from _pieces(fd, item)
            self._require_same(item, os.fstat(fd))
        finally:
            os.close(fd)

    def stamp(self, item: Item) -> tuple[int, ...]:
        return _stamp(_status(item))

    def is_at_rest(self, item: Item, since_ns: int) -> bool:
        changed_ns = _status(item).st_ctime_ns
        tick_ns = _TICK_NS if changed_ns % _SECOND_NS else _COARSE_TICK_NS
        return changed_ns < since_ns - tick_ns

    def _directory(self, path: Path, seen: Item | None = None) -> int:
        """Return a directory's descriptor, which is the cache's."""
        if not path:
            return self._root_fd
        fd = self._descriptors.find(path)
        if fd is None:
            parent = self._directory(path[:-1])
            try:
                fd = os.open(path[-1], _DIRECTORY, dir_fd=parent)
            except OSError as error:
                raise self._failure(_unseen(path), error) from error
            self._descriptors.put(path, fd)
        if seen is not None:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != seen.inode:
                raise ChangedMeanwhile(shown(path))
        return fd

    def _failure(self, item: Item, error: OSError) -> OSError:
        """Say which object an error is about; what has gone since it was seen has changed."""
        if isinstance(error, ChangedMeanwhile):
            return error
        if error.errno in _GONE:
            return ChangedMeanwhile(shown(item.path))
        return BadContext(shown(item.path), f"cannot be read: {error.strerror}")

    def _require_same(self, item: Item, status: os.stat_result) -> None:
        if _stamp(status) != _stamp(_status(item)):
            raise ChangedMeanwhile(shown(item.path))


def _pieces(fd: int, item: Item) -> Iterator[DataOrHole]:
    here, size = 0, item.size
    for start, end in _extents(fd, item):
        if start > here:
            yield Hole(start - here)
        here = start
        while here < end:
            piece = os.pread(fd, min(_STEP, end - here), here)
            if not piece:
                raise ChangedMeanwhile(shown(item.path))
            yield piece
            here += len(piece)
    if here < size:
        yield Hole(size - here)


def _extents(fd: int, item: Item) -> Iterator[tuple[int, int]]:
    """Where there is data; a file whose blocks hold all of it has no holes to ask for."""
    if item.size == 0:
        return iter(())
    if _status(item).st_blocks * 512 >= item.size:
        return iter(((0, item.size),))
    return data_extents(fd, item.size)


def _item(path: Path, status: os.stat_result) -> Item:
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return Item(
        path,
        status.st_mode,
        0,
        0,
        size,
        status.st_mtime_ns,
        status.st_rdev,
        status.st_nlink,
        (status.st_dev, status.st_ino),
        status,
    )


def _unseen(path: Path) -> Item:
    return Item(path, stat.S_IFDIR, 0, 0, 0, 0, 0, 1, None)


def _status(item: Item) -> os.stat_result:
    return cast("os.stat_result", item.handle)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    return (
        status.st_dev,
        status.st_ino,
        status.st_mode,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )


def _name(item: Item) -> bytes:
    return item.path[-1]


def _is_kept(name: bytes) -> bool:
    return name == _KEPT_XATTR or name.startswith(_KEPT_NAMESPACE)
