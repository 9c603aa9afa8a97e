"""Copying an object of a layer to the upper: all of it, in one step that others see.

A copy is staged in the workdir with data, holes, owner, mode, times and xattrs, synced, and
renamed into place; its directory's times are put back, since nothing visible has changed. The
parents come first. Only `CopyUp.transfer` takes long; it touches nothing but its own two files,
so it may run in a thread.

With `metacopy=on` a change of attributes leaves the data in its layer: the copy is as long as the
file, has no blocks, and says so in an xattr. Its data follows when it is needed (`metacopies`).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HeldFile, HostDirectory, HostFile
from overlayfs_py.union import inodes, metacopies
from overlayfs_py.union.nodes import DataBelow
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    from overlayfs_py.layers.interface import Reader
    from overlayfs_py.union.nodes import DirectoryNode, FileNode
    from overlayfs_py.union.state import State
    from overlayfs_py.union.upper import Upper

_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class CopyUp:
    """One regular file on its way to the upper."""

    def __init__(
        self, node: FileNode, reader: Reader | None, fd: int, staged: bytes, size: int
    ) -> None:
        """Take over `reader`, if data is to be copied, and `fd`, the file staged under `staged`."""
        self.node = node
        self.staged = staged
        self.size_bytes = size
        self.sync = True
        self._reader = reader
        self._fd = fd

    @property
    def is_metacopy(self) -> bool:
        """Whether the data stays behind."""
        return self._reader is None

    def transfer(self) -> None:
        """Copy the data, and to the disk, where the layer's was safe. Blocks, maybe for long."""
        if self.size_bytes and self._reader is not None:
            self._reader.copy_to(self._fd, self.size_bytes)
            if self.sync:
                os.fsync(self._fd)

    def close(self) -> None:
        """Close both files."""
        if self._reader is not None:
            self._reader.close()
        os.close(self._fd)


def begin(state: State, node: FileNode, need: Need) -> CopyUp | None:
    """Stage a regular file's copy, still without its data; None if nothing is needed."""
    if node.type != stat.S_IFREG or _has(node, need):
        return None
    upper = state.require_upper()
    is_metacopy = need is Need.ATTRIBUTES and metacopies.leaves_data(state, node)
    reader = None if is_metacopy else node.data.open_reader()
    staged = upper.new_name()
    try:
        size = 0 if need is Need.EMPTY or is_metacopy else node.place.attributes().size
        fd = os.open(staged, _CREATE, 0o600, dir_fd=upper.stage.fd())
    except OSError:
        if reader is not None:
            reader.close()
        raise
    copy = CopyUp(node, reader, fd, staged, size)
    copy.sync = not state.spec.volatile
    return copy


def _has(node: FileNode, need: Need) -> bool:
    """Whether what is in the upper is enough."""
    return node.lower is None and (node.below is None or need is Need.ATTRIBUTES)


def commit(state: State, copy: CopyUp) -> None:
    """Put a transferred copy in place, unless another one is there already."""
    copy.close()
    node = copy.node
    upper = state.require_upper()
    try:
        if node.lower is not None:
            _install(state, node, copy.staged, is_metacopy=copy.is_metacopy)
        elif node.below is not None and not copy.is_metacopy:
            metacopies.complete(state, node, copy.staged)
        else:
            upper.discard(copy.staged)
    except OSError:
        upper.discard(copy.staged)
        raise


def abort(state: State, copy: CopyUp) -> None:
    """Give a copy up."""
    copy.close()
    state.require_upper().discard(copy.staged)


def copy_up_file(state: State, node: FileNode, need: Need) -> None:
    """Let what is needed of anything but a directory be in the upper."""
    if _has(node, need):
        return
    copy = begin(state, node, need)
    if copy is None:
        _copy_up_special(state, node)
        return
    try:
        copy.transfer()
    except OSError:
        abort(state, copy)
        raise
    commit(state, copy)


def _copy_up_special(state: State, node: FileNode) -> None:
    upper = state.require_upper()
    lower = node.lower
    assert lower is not None
    staged = upper.new_name()
    if node.type == stat.S_IFLNK:
        os.symlink(lower.read_link(), staged, dir_fd=upper.stage.fd())
    else:
        make_special(upper, staged, node.type, lower.attributes().rdev)
    try:
        _install(state, node, staged, is_metacopy=False)
    except OSError:
        upper.discard(staged)
        raise


def make_special(upper: Upper, staged: bytes, file_type: int, rdev: int) -> None:
    """Stage a FIFO, socket or device; in an upper with an override xattr a file stands for it."""
    if upper.tree.override is not None:
        file_type = stat.S_IFREG
    device = rdev if file_type in (stat.S_IFCHR, stat.S_IFBLK) else 0
    os.mknod(staged, file_type | 0o600, device, dir_fd=upper.stage.fd())


def _install(state: State, node: FileNode, staged: bytes, *, is_metacopy: bool) -> None:
    upper = state.require_upper()
    lower = node.lower
    assert lower is not None
    item = HostFile(upper.stage, staged)
    below = None
    if is_metacopy:
        below = DataBelow(node.data, None)
        metacopies.make(upper, item, lower.attributes().size)
    inodes.copy_metadata(state.upper_ids, lower, item)
    if node.parent is None:
        fd = os.open(staged, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=upper.stage.fd())
        node.held = HeldFile(upper.tree, fd)
        upper.discard(staged)
    else:
        parent = copy_up_directory(state, node.parent)
        upper.place_unseen(staged, parent, node.name)
    state.readers.drop(node)
    node.lower, node.below = None, below
    state.removed_links.pop(node.ino, None)
    state.table.origins[upper.tree.ino_of(node.writable.status())] = node.ino


def copy_up_directory(state: State, node: DirectoryNode) -> HostDirectory:
    """Let a directory, without what is in it, and all above it be in the upper; returns it there.

    Iterates instead of recursing: trees may be deep.
    """
    missing = []
    here: DirectoryNode | None = node
    while here is not None and here.upper is None:
        missing.append(here)
        here = here.parent
    if missing:
        upper = state.require_upper()
        for directory in reversed(missing):
            _copy_up_one(state, upper, directory)
    result = node.require_upper()
    if result.tree.read_only:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), node.name)
    return result


def _copy_up_one(state: State, upper: Upper, node: DirectoryNode) -> None:
    if node.parent is None or node.removed:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), node.name)
    staged = upper.new_name()
    os.mkdir(staged, 0o700, dir_fd=upper.stage.fd())
    try:
        item = HostDirectory(upper.tree, upper.stage, staged)
        inodes.copy_metadata(state.upper_ids, node.top, item)
        upper.place_unseen(staged, node.parent.require_upper(), node.name)
    except OSError:
        upper.discard(staged)
        raise
    node.upper = HostDirectory(upper.tree, node.parent.require_upper(), node.name)
    state.table.origins[upper.tree.ino_of(node.upper.status())] = node.ino


def link_upper(state: State, node: FileNode, parent: DirectoryNode, name: bytes) -> None:
    """Let a name that a layer shows be one more link of the file that was copied up from there."""
    upper = state.require_upper()
    directory = copy_up_directory(state, parent)
    staged = upper.new_name()
    link(node.writable, upper.stage, staged)
    upper.place_unseen(staged, directory, name)
    state.table.add_name(node, parent, name)


def link(file: HostFile, directory: HostDirectory, name: bytes) -> None:
    """Give a writable file one more name; ENOENT where it has lost its last."""
    path, dir_fd, follow = file.reach()
    assert isinstance(path, bytes)
    os.link(path, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd(), follow_symlinks=follow)
