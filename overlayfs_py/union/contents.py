"""The data of regular files, by node: there is no per-open state.

A file's descriptor is opened at its first read or write and kept in a bounded cache; copy-up and
removal change what the next one is opened from.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostFile
from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.union import inodes
from overlayfs_py.union.lower_data import open_data
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.opened import OpenMetacopy, WritableReader, opened
from overlayfs_py.union.protection import IMMUTABLE, protection, require_openable
from overlayfs_py.union.values import Need
from overlayfs_py.union.write_access import make_writable

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.layers.interface import Reader
    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State


def open_file(state: State, node: Node, *, write: bool) -> None:
    """Check that a file can be opened so, and let it be in the upper before it is written."""
    file = require_regular(node)
    if write:
        if protection(state, file) & IMMUTABLE:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), file.name)
        make_writable(state, file)


def read(state: State, node: Node, offset: int, size: int) -> bytes:
    """Return `size` bytes from `offset` on, fewer only at the end of the file."""
    return reader_of(state, require_regular(node)).read(offset, size)


def begin_read(state: State, node: Node, offset: int, size: int) -> bytes | Callable[[], bytes]:
    """Return what `read` does, or where that takes long what reads it, to be called in a thread."""
    return _begin(reader_of(state, require_regular(node)), offset, size)


def begin_read_into(
    state: State, node: Node, offset: int, room: memoryview
) -> bytes | memoryview | Callable[[], bytes]:
    """Return what `begin_read` does for as much as `room` holds, maybe in `room`."""
    reader = reader_of(state, require_regular(node))
    if isinstance(reader, DescriptorReader):
        return room[: reader.read_into(offset, room)]
    return _begin(reader, offset, len(room))


class Arriving:
    """Reads what has to come from another machine first; blocks for so long, in a thread."""

    __slots__ = ("_offset", "_reader", "_size")

    def __init__(self, reader: Reader, offset: int, size: int) -> None:
        self._reader = reader
        self._offset = offset
        self._size = size

    def __call__(self) -> bytes:
        return self._reader.read(self._offset, self._size)

    def bring(self) -> None:
        """Wait until all of the file is here."""
        self._reader.bring()


def _begin(reader: Reader, offset: int, size: int) -> bytes | Callable[[], bytes]:
    data = reader.try_read(offset, size)
    if data is not None:
        return data
    is_away = reader.is_away(offset, size)
    return Arriving(reader, offset, size) if is_away else partial(reader.read, offset, size)


def write(state: State, node: Node, offset: int, data: bytes | memoryview) -> int:
    """Write all of `data` at `offset`; returns how much, less only on a full disk."""
    file = require_regular(node)
    try:
        known = state.readers.find(node)
        fd = known.fd if isinstance(known, WritableReader) else writable_fd(state, file)
    except PermissionError:
        if protection(state, node) == IMMUTABLE or offset != file.place.attributes().size:
            raise
        make_writable(state, file)
        return _append_only(file, data)
    written = os.pwrite(fd, data, offset)
    if written == len(data):
        return written
    view = memoryview(data)
    while written < len(view):
        try:
            written += os.pwrite(fd, view[written:], offset + written)
        except OSError:
            break  # the next write is told; of this one, what is there counts
    return written


def _append_only(file: FileNode, data: bytes | memoryview) -> int:
    """Write at the end of a file that may be opened for nothing else (chattr(1), `a`)."""
    fd = file.writable.open(os.O_WRONLY | os.O_APPEND)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def append(state: State, node: Node, data: bytes | memoryview) -> int:
    """Write at the end, wherever others have moved it meanwhile; returns how much."""
    fd = writable_fd(state, require_regular(node))
    return os.pwritev(fd, (data,), 0, os.RWF_APPEND)


def write_back(state: State, node: Node, offset: int, data: bytes | memoryview) -> int:
    """Write what was written before: the file keeps its times, whoever wrote sets them.

    The kernel tells its time of a write only where that differs from the one it knows; were the
    file's to move, it would be another at the next mount.
    """
    if protection(state, node):
        return write(state, node, offset, data)
    fd = writable_fd(state, require_regular(node))
    times = os.fstat(fd)
    written = write(state, node, offset, data)
    os.utime(fd, ns=(times.st_atime_ns, times.st_mtime_ns))
    return written


def truncate(state: State, node: Node, size: int) -> None:
    """Set a file's length."""
    file = require_regular(node)
    require_openable(state, file)
    make_writable(state, file, Need.DATA if size else Need.EMPTY)
    os.ftruncate(writable_fd(state, file), size)


def kill_privileges(state: State, node: Node, is_in: Callable[[int], bool]) -> bool:
    """Clear set-user-ID and set-group-ID; whether there were any.

    A file that its group cannot execute keeps set-group-ID where the caller `is_in` that group
    (fs/attr.c, setattr_should_drop_sgid).
    """
    if isinstance(node, DirectoryNode):
        return False  # it keeps them (fs/open.c, chown_common)
    place = opened(state, node) or make_writable(state, node)
    found = place.attributes()
    mode = found.mode
    kept = mode & ~stat.S_ISUID
    if mode & stat.S_ISGID and (mode & stat.S_IXGRP or not is_in(_group(state, found))):
        kept &= ~stat.S_ISGID
    if kept != mode:
        inodes.set_mode(place, stat.S_IMODE(kept))
    return kept != mode


def _group(state: State, found: Attributes) -> int:
    squashed = state.spec.ids.squash_gid
    return found.gid if squashed is None else squashed


def open_backing(state: State, node: Node) -> int | None:
    """Open the host file behind a node where nobody can write it, neither us nor through us.

    A file of the upper is not handed out: a user's write that does not pass us leaves set-id bits
    where they are, and a shared mapping's leaves the times (found by `tests/posix`).
    """
    file = require_regular(node)
    if not state.read_only or not node.cacheable or not isinstance(file.data, HostFile):
        return None
    state.on_read(file)
    return file.data.open(os.O_RDONLY)


def sync(state: State, node: Node, *, data_only: bool) -> Callable[[], None]:
    """Return what brings a file or directory to the disk, to be called in any thread once.

    It owns a descriptor of its own. Nothing is written to a layer, so there is nothing to sync.
    """
    own_fd = None if state.spec.volatile else _synced_fd(state, node)
    if own_fd is None:
        return _nothing

    def bring_to_disk() -> None:
        try:
            (os.fdatasync if data_only else os.fsync)(own_fd)
        finally:
            os.close(own_fd)

    return bring_to_disk


def require_regular(node: Node) -> FileNode:
    """Return the node of a regular file; EISDIR or EINVAL for others."""
    if isinstance(node, DirectoryNode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), node.name)
    if not isinstance(node, FileNode) or node.type != stat.S_IFREG:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), node.name)
    return node


def _nothing() -> None:
    return


def _synced_fd(state: State, node: Node) -> int | None:
    """A descriptor, the caller's, of what is to be brought to the disk."""
    if isinstance(node, DirectoryNode):
        return None if node.upper is None else os.dup(node.upper.fd())
    if not isinstance(node, FileNode) or node.type != stat.S_IFREG or node.lower is not None:
        return None
    if node.writable.tree.read_only:
        return None
    if node.below is not None or protection(state, node):
        # Its data is not ours to sync, or it may be opened for nothing else.
        return node.writable.open_inode(os.O_RDONLY)
    return os.dup(writable_fd(state, node))


def reader_of(state: State, node: FileNode) -> Reader:
    """Return what reads a file, owned by the cache: use it at once."""
    known = state.readers.find(node)
    if known is None or isinstance(known, OpenMetacopy):
        known = open_data(node)
        state.readers.put(node, known)
        state.on_read(node)
    return known


def writable_fd(state: State, node: FileNode) -> int:
    """Return a descriptor for reading and writing, owned by the cache: use it at once."""
    known = state.readers.find(node)
    if not isinstance(known, WritableReader):
        require_openable(state, node)
        make_writable(state, node)
        known = WritableReader(node.writable.tree, _open_writable(node))
        state.readers.put(node, known)
    return known.fd


def _open_writable(node: FileNode) -> int:
    """Open for both; the owner, who is us, may have taken its own permission away.

    Where users may have no namespace (`layers/owner_rights.py`) it is given back for a moment.
    """
    place: HostFile = node.writable
    try:
        return place.open(os.O_RDWR)
    except PermissionError:
        mode = place.attributes().mode
        inodes.set_mode(place, stat.S_IMODE(mode) | stat.S_IRUSR | stat.S_IWUSR)
        try:
            return place.open(os.O_RDWR)
        finally:
            inodes.set_mode(place, stat.S_IMODE(mode))
