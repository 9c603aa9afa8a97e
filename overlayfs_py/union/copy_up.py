"""Copying an object of a layer to the upper: all of it, in one step that others see.

A copy is staged in the workdir with data, holes, owner, mode, times and xattrs, synced, and
renamed into place; its directory's times are put back, since nothing visible has changed. The
parents come first. Only `CopyUp.transfer` takes long; it touches nothing but its own two files,
so it may run in a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HeldFile, HostDirectory, HostFile
from overlayfs_py.layers.marks import ESCAPED_PREFIXES, FUSE_OVERLAYFS_PREFIXES, PRIVATE_PREFIXES
from overlayfs_py.layers.override_stat import LEGACY_XATTR, OVERRIDE_XATTRS
from overlayfs_py.union import inodes

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostObject
    from overlayfs_py.layers.interface import LayerObject, Reader
    from overlayfs_py.union.nodes import DirectoryNode, FileNode
    from overlayfs_py.union.state import State
    from overlayfs_py.union.upper import Upper

_CREATE = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
# What a layer says of itself, not of the file.
_NOT_COPIED = (*PRIVATE_PREFIXES, *FUSE_OVERLAYFS_PREFIXES, *OVERRIDE_XATTRS.values(), LEGACY_XATTR)


class CopyUp:
    """One regular file on its way to the upper."""

    def __init__(self, node: FileNode, reader: Reader, fd: int, staged: bytes, size: int) -> None:
        """Take over `reader` and `fd`, the file staged under `staged`."""
        self.node = node
        self.staged = staged
        self.size_bytes = size
        self.sync = True
        self._reader = reader
        self._fd = fd

    def transfer(self) -> None:
        """Copy the data, and to the disk, where the layer's was safe. Blocks, maybe for long."""
        if self.size_bytes:
            self._reader.copy_to(self._fd, self.size_bytes)
            if self.sync:
                os.fsync(self._fd)

    def close(self) -> None:
        """Close both files."""
        self._reader.close()
        os.close(self._fd)


def begin(state: State, node: FileNode, *, keep_data: bool = True) -> CopyUp | None:
    """Stage a regular file's copy, still without its data; None if it needs none.

    `keep_data` False leaves the data behind: the file is about to be truncated.
    """
    if node.lower is None or node.type != stat.S_IFREG:
        return None
    upper = state.require_upper()
    reader = node.lower.open_reader()
    staged = upper.new_name()
    try:
        size = node.lower.attributes().size if keep_data else 0
        fd = os.open(staged, _CREATE, 0o600, dir_fd=upper.stage.fd())
    except OSError:
        reader.close()
        raise
    copy = CopyUp(node, reader, fd, staged, size)
    copy.sync = not state.spec.volatile
    return copy


def commit(state: State, copy: CopyUp) -> None:
    """Put a transferred copy in place, unless another one is there already."""
    copy.close()
    if copy.node.lower is None:
        state.require_upper().discard(copy.staged)
        return
    try:
        _install(state, copy.node, copy.staged)
    except OSError:
        state.require_upper().discard(copy.staged)
        raise


def abort(state: State, copy: CopyUp) -> None:
    """Give a copy up."""
    copy.close()
    state.require_upper().discard(copy.staged)


def copy_up_file(state: State, node: FileNode, *, keep_data: bool = True) -> None:
    """Let anything but a directory be in the upper; nothing to do where it is."""
    if node.lower is None:
        return
    copy = begin(state, node, keep_data=keep_data)
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
        _install(state, node, staged)
    except OSError:
        upper.discard(staged)
        raise


def make_special(upper: Upper, staged: bytes, file_type: int, rdev: int) -> None:
    """Stage a FIFO, socket or device; in an upper with an override xattr a file stands for it."""
    if upper.tree.override is not None:
        file_type = stat.S_IFREG
    device = rdev if file_type in (stat.S_IFCHR, stat.S_IFBLK) else 0
    os.mknod(staged, file_type | 0o600, device, dir_fd=upper.stage.fd())


def _install(state: State, node: FileNode, staged: bytes) -> None:
    upper = state.require_upper()
    lower = node.lower
    assert lower is not None
    item = HostFile(upper.stage, staged)
    copy_metadata(state, lower, item)
    if node.parent is None:
        fd = os.open(staged, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=upper.stage.fd())
        node.held = HeldFile(upper.tree, fd)
        upper.discard(staged)
    else:
        parent = copy_up_directory(state, node.parent)
        _place_unseen(upper, staged, parent, node.name)
    state.readers.drop(node)
    node.lower = None
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
        copy_metadata(state, node.top, HostDirectory(upper.tree, upper.stage, staged))
        _place_unseen(upper, staged, node.parent.require_upper(), node.name)
    except OSError:
        upper.discard(staged)
        raise
    node.upper = HostDirectory(upper.tree, node.parent.require_upper(), node.name)
    state.table.origins[upper.tree.ino_of(node.upper.status())] = node.ino


def copy_metadata(state: State, source: LayerObject, target: HostObject) -> None:
    """Give a staged object everything but data; times last, since each step changes them."""
    known = source.attributes()
    ids = state.upper_ids
    owner = ids.disk_uid(known.uid), ids.disk_gid(known.gid)
    if target.tree.override is None:
        inodes.set_owner(target, *owner)
    else:
        inodes.store_override(target, *owner, known.mode, known.rdev)
    for name in source.list_xattrs():
        if not name.startswith(_NOT_COPIED) or name.startswith(ESCAPED_PREFIXES):
            _copy_xattr(source, target, name)
    # After the xattrs: who is not privileged can set none on a file that is read-only.
    if target.tree.override is None and not stat.S_ISLNK(known.mode):
        inodes.set_mode(target, stat.S_IMODE(known.mode))
    inodes.set_times(target, known.atime_ns, known.mtime_ns)


def _copy_xattr(source: LayerObject, target: HostObject, name: bytes) -> None:
    """Copy one xattr; a filesystem that has no room for its kind does without, as the kernel's."""
    try:
        inodes.set_xattr(target, name, source.get_xattr(name))
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM) or name.startswith(b"user."):
            raise


def _place_unseen(upper: Upper, staged: bytes, parent: HostDirectory, name: bytes) -> None:
    """Put a copy in place and the directory's times back: for users nothing has changed."""
    times = parent.status()
    upper.place(staged, parent, name)
    inodes.set_times(parent, times.st_atime_ns, times.st_mtime_ns)


def link_upper(state: State, node: FileNode, parent: DirectoryNode, name: bytes) -> None:
    """Let a name that a layer shows be one more link of the file that was copied up from there."""
    upper = state.require_upper()
    directory = copy_up_directory(state, parent)
    staged = upper.new_name()
    link(node.writable, upper.stage, staged)
    _place_unseen(upper, staged, directory, name)
    state.table.add_name(node, parent, name)


def link(file: HostFile, directory: HostDirectory, name: bytes) -> None:
    """Give a writable file one more name; ENOENT where it has lost its last."""
    path, dir_fd, follow = file.reach()
    os.link(path, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd(), follow_symlinks=follow)
