"""Metacopies in the upper: files that have attributes, and whose data still lies in a layer.

On disk they are what kernel overlayfs writes with `metacopy=on`: as long as the file, without
blocks, with an empty xattr `overlay.metacopy`, and `overlay.redirect` where the layers have the
data under another name. Source: fs/overlayfs/copy_up.c, ovl_copy_up_meta_inode_data.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostFile
from overlayfs_py.layers.marks import METACOPY, REDIRECT
from overlayfs_py.layers.reader import copy_data
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.syscalls.files import RENAME_EXCHANGE
from overlayfs_py.union import inodes, protection

if TYPE_CHECKING:
    from overlayfs_py.layers.held import OpenFile
    from overlayfs_py.union.nodes import FileNode
    from overlayfs_py.union.state import State
    from overlayfs_py.union.upper import Upper

# Where no copy waits for the disk, copying up to this much takes as long as marking it: 54 us
# either way (measured, tmpfs). Then the whole file is the better upper.
_SMALL_BYTES = 4096
_CAPABILITY = b"security.capability"  # every write(2) removes it, whoever writes


def leaves_data(state: State, node: FileNode) -> bool:
    """Whether a change of attributes leaves the data of a layer's file where it is.

    Not of a file with several names: all become links of its copy, and would each look for the
    data in another place.
    """
    lower, upper = node.lower, state.upper
    if lower is None or upper is None or node.type != stat.S_IFREG or node.parent is None:
        return False
    if not state.spec.metacopy or not upper.takes_xattrs:
        return False
    found = state.attributes_below(lower)
    return found.nlink == 1 and found.size > (_SMALL_BYTES if state.spec.volatile else 0)


def make(upper: Upper, staged: OpenFile, size_bytes: int) -> None:
    """Let a staged empty file be a metacopy, before it gets its metadata."""
    os.ftruncate(staged.fd, size_bytes)
    upper.set_private(staged, b"metacopy", b"")


def complete(state: State, node: FileNode, staged: bytes) -> None:
    """Give a metacopy its data, which lies in the staged file.

    The staged file takes the metacopy's attributes and its place, in one step. One with several
    names, or none, has to stay the inode that it is: the data is copied into it, and shows once
    the mark is gone. A kill before that may leave it the time of a write that never was.
    """
    upper = state.require_upper()
    if node.index is None and node.parent is not None and node.writable.status().st_nlink == 1:
        _exchange(state, node, staged)
    else:
        _fill(state, node, staged)
        upper.discard(staged)
    state.readers.drop(node)
    node.below = None


def _exchange(state: State, node: FileNode, staged: bytes) -> None:
    upper, place = state.require_upper(), node.writable
    item = HostFile(upper.stage, staged)
    origin = find_xattr(place, upper.prefix + b"origin")
    if origin is not None:
        upper.set_origin(item, origin)
    protection.store(state, item, protection.stored(state, place))
    protection.give_flags(state, item, protection.flags_of(state, place, stat.S_IFREG))
    inodes.copy_metadata(state.upper_ids, place, item)
    old, new = (upper.tree.ino_of(one.status()) for one in (place, item))
    assert place.parent is not None
    upper.place_unseen(staged, place.parent, place.name, RENAME_EXCHANGE)
    state.table.origins.pop(old, None)
    state.table.origins[new] = node.ino
    node.own = new
    if node.ino == old:
        # The inode that the number is of must not be given to another file.
        upper.keep(staged)
    else:
        upper.discard(staged)


def _fill(state: State, node: FileNode, staged: bytes) -> None:
    place = node.writable
    before = place.status()
    capability = find_xattr(place, _CAPABILITY)
    source_fd = os.open(staged, os.O_RDONLY | os.O_CLOEXEC, dir_fd=state.require_upper().stage.fd())
    try:
        target_fd = place.open_inode(os.O_RDWR)
        try:
            size = os.fstat(source_fd).st_size
            copy_data(source_fd, target_fd, size)
            os.ftruncate(target_fd, size)
            if not state.spec.volatile:
                os.fsync(target_fd)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)
    if capability is not None:
        inodes.set_xattr(place, _CAPABILITY, capability)
    inodes.set_times(place, before.st_atime_ns, before.st_mtime_ns)
    for mark in (*METACOPY, *REDIRECT):
        if find_xattr(place, mark) is not None:
            inodes.remove_xattr(place, mark)
