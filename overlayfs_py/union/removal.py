"""Deleting names: unlink and rmdir, whiteouts where a layer would show the name again."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HeldFile
from overlayfs_py.syscalls.files import RENAME_EXCHANGE
from overlayfs_py.union.copy_up import copy_up_directory
from overlayfs_py.union.listing import require_empty, requiring_empty
from overlayfs_py.union.lookup import look, shown_below
from overlayfs_py.union.lowers import lists_long
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.opened import opened
from overlayfs_py.union.values import WhiteoutStyle

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.layers.host import HostDirectory
    from overlayfs_py.union.lookup import Seen
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.union.upper import Upper


def unlink(state: State, parent: DirectoryNode, name: bytes) -> None:
    """Delete a name that is not a directory's."""
    seen = _see(state, parent, name)
    node, in_upper = seen.node, seen.in_upper
    if not isinstance(node, FileNode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    directory = copy_up_directory(state, parent)
    with losing_name(state, node, parent, name):
        if not in_upper or shown_below(parent, name):
            upper = state.require_upper()
            rubbish = _cover(upper, directory, name, taken=stat.S_IFREG if in_upper else 0)
            if rubbish is not None:
                upper.discard(rubbish)
        else:
            os.unlink(name, dir_fd=directory.fd())


def remove_directory(state: State, parent: DirectoryNode, name: bytes) -> Steps[None] | None:
    """Delete an empty directory; one that merges whiteouts only is empty.

    Returns steps that do so, where that takes long.
    """
    node = _require_directory(state, parent, name)
    if lists_long(node):
        return _removing(state, node, parent, name)
    require_empty(node)
    rubbish = _remove_empty(state, node, parent, name)
    if rubbish is not None:
        state.require_upper().discard(rubbish)
    return None


def _removing(state: State, node: DirectoryNode, parent: DirectoryNode, name: bytes) -> Steps[None]:
    """Look for names in steps, remove the directory in one, and then what was left in it.

    The kernel lets nobody make a name in it meanwhile (fs/namei.c, vfs_rmdir).
    """
    yield from requiring_empty(node, apart=True)
    if _require_directory(state, parent, name).ino != node.ino:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)
    rubbish = _remove_empty(state, node, parent, name)
    if rubbish is not None:
        yield from state.require_upper().discarding(rubbish)


def _require_directory(state: State, parent: DirectoryNode, name: bytes) -> DirectoryNode:
    node = require(state, parent, name)
    if not isinstance(node, DirectoryNode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
    return node


def _remove_empty(
    state: State, node: DirectoryNode, parent: DirectoryNode, name: bytes
) -> bytes | None:
    """Take it away; returns what is to be discarded, by its name on the stage."""
    directory = copy_up_directory(state, parent)
    with losing_directory(state, node, parent, name):
        upper = state.upper
        if upper is None or directory.tree.plain:
            os.rmdir(name, dir_fd=directory.fd())
        elif shown_below(parent, name):
            return _cover(upper, directory, name, taken=0 if node.upper is None else stat.S_IFDIR)
        elif node.upper is not None and _has_entries(node.upper.fd()):
            return upper.unplace(directory, name)
        else:
            os.rmdir(name, dir_fd=directory.fd())
    return None


def _has_entries(fd: int) -> bool:
    with os.scandir(fd) as listing:
        return next(listing, None) is not None


@contextmanager
def losing_directory(
    state: State, node: DirectoryNode, parent: DirectoryNode, name: bytes
) -> Iterator[None]:
    """While the body takes a directory away: keep it for its holders, and the books right."""
    upper = node.upper
    ino_on_disk = None
    if upper is not None:
        ino_on_disk = upper.tree.ino_of(upper.status())
        if state.table.find(node.ino) is node:
            upper.hold()
    try:
        yield
    except OSError:
        if upper is not None:
            upper.let_go()
        raise
    if ino_on_disk is not None:
        state.table.origins.pop(ino_on_disk, None)
    node.removed = True
    state.table.lose_name(node, parent, name)


def require(state: State, parent: DirectoryNode, name: bytes) -> Node:
    """Return the node that a name to be deleted shows; EBUSY where a volume is attached."""
    return _see(state, parent, name).node


def _see(state: State, parent: DirectoryNode, name: bytes) -> Seen:
    if name in parent.attached:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), name)
    seen = look(state, parent, name)
    if seen is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    return seen


@contextmanager
def losing_name(state: State, node: FileNode, parent: DirectoryNode, name: bytes) -> Iterator[None]:
    """While the body takes a name away: keep the file for its holders, and the books right."""
    held = _hold_last_name(state, node, parent, name)
    # Not of a name that shows a copy and is no link of it, since the disk was full.
    is_link = node.lower is None and (parent, name) in node.names()
    ino_on_disk = _ino_if_last(node) if held is None and is_link else None
    try:
        yield
    except OSError:
        if held is not None:
            held.close()
        raise
    if node.lower is not None:
        state.count_removed_link(node)
    elif held is not None:
        node.held = held
    elif ino_on_disk is not None:
        state.table.origins.pop(ino_on_disk, None)
    state.table.lose_name(node, parent, name)


def _hold_last_name(
    state: State, node: FileNode, parent: DirectoryNode, name: bytes
) -> HeldFile | None:
    if node.lower is not None or state.table.find(node.ino) is not node:
        return None
    if node.names() != [(parent, name)]:
        return None
    known = opened(state, node)
    if known is not None:
        return HeldFile(known.tree, os.dup(known.fd))
    directory = parent.require_upper()
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    return HeldFile(directory.tree, os.open(name, flags, dir_fd=directory.fd()))


def _ino_if_last(node: FileNode) -> int | None:
    status = node.writable.status()
    return node.writable.tree.ino_of(status) if status.st_nlink == 1 else None


def _cover(upper: Upper, directory: HostDirectory, name: bytes, *, taken: int) -> bytes | None:
    """Put a whiteout under a name; what was there, of type `taken`, is gone in the same step.

    Returns what is to be discarded, by its name on the stage.
    """
    if upper.style is WhiteoutStyle.AUFS:
        upper.add_whiteout(directory, name)
        return upper.unplace(directory, name) if taken else None
    if taken == stat.S_IFDIR:
        staged = upper.stage_whiteout()
        upper.place(staged, directory, name, RENAME_EXCHANGE)
        return staged
    if taken:
        upper.place(upper.stage_whiteout(), directory, name)
    else:
        upper.add_whiteout(directory, name)
    return None
