"""A directory on the host, an upper of a mount among them, made into a pack.

Read as a layer is read: every form of a whiteout and of an opaque mark, owners that an xattr keeps
in place of the inode, nothing of what is mounted inside, and no symbolic link followed.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.layers.descriptors import DescriptorCache
from overlayfs_py.layers.ids import IdMap
from overlayfs_py.layers.marks import TRUSTED_MARKS, USER_MARKS, MarkNames
from overlayfs_py.layers.numbering import Numbering
from overlayfs_py.layers.opening import open_directory_layer
from overlayfs_py.layers.ownership import is_ours_alone
from overlayfs_py.layers.reader import data_extents
from overlayfs_py.layers.reserved_xattrs import is_users
from overlayfs_py.layers.values import WHITEOUT_TYPE, Attributes
from overlayfs_py.packs.errors import BadEntry, Unwritten
from overlayfs_py.packs.values import Hole, Metadata, shown
from overlayfs_py.syscalls.credentials import has_trusted_xattrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.layers.host import HostDirectory, HostFile, HostObject
    from overlayfs_py.packs.values import DataOrHole, Path
    from overlayfs_py.packs.writer import PackWriter

_STEP = 1 << 20  # bytes of a read
_OPEN_DIRECTORIES = 64


def pack_directory(
    source: bytes,
    writer: PackWriter,
    *,
    keep_atimes: bool = False,
    on_data: Callable[[int], None] | None = None,
) -> None:
    """Add all of the directory `source` to a pack; `writer.finish` is the caller's.

    Access times change without anybody changing the directory, so they are left out where they
    are not asked for. `on_data` is told of every piece of data, in bytes.

    Raises:
        OSError: naming what cannot be read.
        BadEntry: naming what no pack can hold, or what changed meanwhile.
        Unwritten: naming the file of the pack.
    """
    descriptors: DescriptorCache[int] = DescriptorCache(_OPEN_DIRECTORIES, os.close)
    layer = open_directory_layer(
        Numbering(),
        source,
        IdMap(),
        descriptors,
        mark_names=TRUSTED_MARKS if has_trusted_xattrs() else USER_MARKS,
        overrides=is_ours_alone(os.stat(source)),
    )
    with closing(layer) as tree:
        try:
            _Walk(writer, keep_atimes=keep_atimes, on_data=on_data).run(tree.root)
        finally:
            descriptors.clear()


class _Walk:
    """One directory tree on its way into a pack: each directory's names, then what is below.

    What is listed together so lies together, in the table of inodes and in shared chunks.
    """

    def __init__(
        self,
        writer: PackWriter,
        *,
        keep_atimes: bool,
        on_data: Callable[[int], None] | None,
    ) -> None:
        self._writer = writer
        self._keep_atimes = keep_atimes
        self._on_data = on_data
        self._linked: dict[int, Path] = {}  # the first path of each file with several

    def run(self, root: HostDirectory) -> None:
        with _naming(()):
            self._add_directory(root, root.attributes(), ())
        pending: list[tuple[HostDirectory, Path]] = [(root, ())]
        while pending:
            directory, path = pending.pop()
            below = self._add_names(directory, path)
            pending += reversed(below)

    def _add_names(self, directory: HostDirectory, path: Path) -> list[tuple[HostDirectory, Path]]:
        with _naming(path):
            listed = sorted(directory.entries())
        below = []
        for name, kind in listed:
            here = (*path, name)
            with _naming(here):
                if kind == WHITEOUT_TYPE:
                    self._writer.add_whiteout(here)
                    continue
                found = directory.find(name)
                if not isinstance(found, Attributes):
                    raise BadEntry(f"{shown(here)}: it was removed while it was read")
                if stat.S_ISDIR(found.mode):
                    child = directory.directory(name)
                    self._add_directory(child, found, here)
                    below.append((child, here))
                else:
                    self._add_file(directory.file(name), found, here)
        return below

    def _add_directory(self, directory: HostDirectory, found: Attributes, path: Path) -> None:
        meta = self._metadata(directory, found)
        self._writer.add_directory(path, meta, opaque=directory.marks().opaque)

    def _add_file(self, file: HostFile, found: Attributes, path: Path) -> None:
        if found.nlink > 1:
            first = self._linked.setdefault(found.ino, path)
            if first != path:
                self._writer.add_link(path, first)
                return
        meta = self._metadata(file, found)
        kind = stat.S_IFMT(found.mode)
        if kind == stat.S_IFREG:
            self._writer.add_file(path, meta, self._data(file, meta, found.size))
        elif kind == stat.S_IFLNK:
            self._writer.add_symlink(path, meta, file.read_link())
        else:
            self._writer.add_special(path, kind, meta, found.rdev)

    def _metadata(self, item: HostObject, found: Attributes) -> Metadata:
        return Metadata(
            stat.S_IMODE(found.mode),
            found.uid,
            found.gid,
            found.mtime_ns,
            found.atime_ns if self._keep_atimes else None,
            tuple(
                (name, item.get_xattr(name))
                for name in _xattr_names(item)
                if _is_kept(name, item.tree.mark_names)
            ),
        )

    def _data(self, file: HostFile, meta: Metadata, size: int) -> Iterator[DataOrHole]:
        try:
            fd = file.open(os.O_RDONLY)
        except PermissionError as error:
            metacopies = file.mark_names.metacopy
            if error.errno != errno.EPERM or not any(name in metacopies for name, _ in meta.xattrs):
                raise
            yield Hole(size)  # its data lies in another layer, and the xattr that says so is kept
            return
        try:
            yield from self._pieces(fd, size)
        finally:
            os.close(fd)

    def _pieces(self, fd: int, size: int) -> Iterator[DataOrHole]:
        buffer = bytearray(min(_STEP, size))
        here = 0
        for start, end in data_extents(fd, size):
            if start > here:
                yield Hole(start - here)
            here = start
            while here < end:
                with memoryview(buffer)[: end - here] as view:
                    done = os.preadv(fd, [view], here)
                    if done == 0:
                        raise BadEntry("it became shorter while it was read")
                    yield view[:done]
                here += done
                if self._on_data is not None:
                    self._on_data(done)
        if here < size:
            yield Hole(size - here)


def _xattr_names(item: HostObject) -> list[bytes]:
    try:
        return item.list_xattrs()
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:  # a filesystem without any
            return []
        raise


def _is_kept(name: bytes, heeded: MarkNames) -> bool:
    """Whether an xattr goes into the pack.

    Of what a layer says of itself: redirects and metacopies that mean something here. The rest a
    pack says in its own way, or needs it not.
    """
    return is_users(name) or name in heeded.redirect or name in heeded.metacopy


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error say which object of the directory it is about."""
    try:
        yield
    except Unwritten:
        raise
    except BadEntry as error:
        if path and shown(path) not in str(error.strerror):
            raise BadEntry(
                f"{shown(path)}: {error.strerror}", error.errno or errno.EINVAL
            ) from error
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown(path)) from error
