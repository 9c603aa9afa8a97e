"""Deleting names: unlink and rmdir, whiteouts where a layer would show the name again."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.files import RENAME_EXCHANGE
from overlayfs_py.union.acting import owners_rules
from overlayfs_py.union.copy_up import copy_up_directory, link_up
from overlayfs_py.union.listing import require_empty, requiring_empty
from overlayfs_py.union.lookup import look, shown_below
from overlayfs_py.union.lowers import lists_long
from overlayfs_py.union.nameless import keep_file, require_stage
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.opened import opened
from overlayfs_py.union.protection import require_deletable
from overlayfs_py.union.values import WhiteoutStyle
from overlayfs_py.union.volume_nodes import VolumeFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.layers.host import HostDirectory
    from overlayfs_py.union.lookup import Seen
    from overlayfs_py.union.nameless import Removed
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
    require_deletable(state, parent, name, node)
    directory = copy_up_directory(state, parent)
    if node.index is not None and not in_upper:
        link_up(state, node, parent, name)
        in_upper = True
    with losing_name(state, node, parent, name):
        if not in_upper or shown_below(parent, name):
            upper = state.require_upper()
            rubbish = _cover(upper, directory, name, taken=stat.S_IFREG if in_upper else 0)
            if rubbish is not None:
                upper.discard(rubbish)
        else:
            with owners_rules(state, parent):
                os.unlink(name, dir_fd=directory.fd())


def remove_directory(state: State, parent: DirectoryNode, name: bytes) -> Steps[None] | None:
    """Delete an empty directory; one that merges whiteouts only is empty.

    Returns steps that do so, where that takes long.
    """
    node = _require_directory(state, parent, name)
    if node.cacheable and lists_long(node):  # a volume's own filesystem looks for itself
        return _removing(state, node, parent, name)
    require_empty(node)
    rubbish = _take_out(state, node, parent, name)
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
    rubbish = _take_out(state, node, parent, name)
    if rubbish is not None:
        yield from state.require_upper().discarding(rubbish)


def _require_directory(state: State, parent: DirectoryNode, name: bytes) -> DirectoryNode:
    node = require(state, parent, name)
    if not isinstance(node, DirectoryNode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
    require_deletable(state, parent, name, node)
    return node


def _take_out(
    state: State, node: DirectoryNode, parent: DirectoryNode, name: bytes
) -> bytes | None:
    """Take it away; returns what is to be discarded, by its name on the stage."""
    directory = copy_up_directory(state, parent)
    if parks(state, node):
        upper = require_stage(state.upper, directory, name)
        with losing_directory(state, node, parent, name, is_parked=True):
            staged = _move_away(upper, parent, directory, name)
            park(state, upper, node, staged)
        return None
    with losing_directory(state, node, parent, name):
        return _remove_empty(state, node, parent, directory, name)


def _remove_empty(
    state: State,
    node: DirectoryNode,
    parent: DirectoryNode,
    directory: HostDirectory,
    name: bytes,
) -> bytes | None:
    upper = state.upper
    if upper is None or directory.tree.plain:
        with owners_rules(state, parent):
            os.rmdir(name, dir_fd=directory.fd())
    elif shown_below(parent, name):
        return _cover(upper, directory, name, taken=0 if node.upper is None else stat.S_IFDIR)
    elif node.upper is not None and has_entries(node.upper.fd()):
        return upper.unplace(directory, name)
    else:
        os.rmdir(name, dir_fd=directory.fd())
    return None


def has_entries(fd: int) -> bool:
    """Whether a directory holds anything, whiteouts too."""
    with os.scandir(fd) as listing:
        return next(listing, None) is not None


def _move_away(upper: Upper, parent: DirectoryNode, directory: HostDirectory, name: bytes) -> bytes:
    """Rename a directory to the stage; returns its name there."""
    if not shown_below(parent, name):
        return upper.unplace(directory, name)
    if upper.style is WhiteoutStyle.AUFS:
        upper.add_whiteout(directory, name)
        return upper.unplace(directory, name)
    staged = upper.stage_whiteout()
    upper.place(staged, directory, name, RENAME_EXCHANGE)
    return staged


def parks(state: State, node: DirectoryNode) -> bool:
    """Whether a directory that goes, and is in use, has to lie on the stage from then on."""
    known = state.table.find(node.ino) is node
    return known and node.upper is not None and state.nameless.is_full


def park(state: State, upper: Upper, node: DirectoryNode, staged: bytes) -> None:
    """Let the node of a directory that is gone know it on the stage."""
    directory = node.require_upper()
    directory.move(upper.stage, staged)
    state.directories.drop(directory)


@contextmanager
def losing_directory(
    state: State,
    node: DirectoryNode,
    parent: DirectoryNode,
    name: bytes,
    *,
    is_parked: bool = False,
) -> Iterator[None]:
    """While the body takes a directory away: keep it for its holders, and the books right."""
    upper = node.upper
    ino_on_disk = None
    if upper is not None:
        ino_on_disk = upper.tree.ino_of(upper.status())
        if state.table.find(node.ino) is node and not is_parked:
            state.nameless.hold_directory(upper)
    try:
        yield
    except OSError:
        if upper is not None:
            state.nameless.let_go_directory(upper)
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
    is_last = False
    if node.index is not None:
        is_last = node.index.links() <= 1
        node.index.begin_change()
    held = _hold_last_name(state, node, parent, name, is_last=is_last)
    if held is None and node.lower is None and node.index is None:
        is_last = node.writable.status().st_nlink == 1
    try:
        yield
    except OSError:
        if held is not None:
            held.close()
        raise
    if node.lower is not None:
        state.count_removed_link(node)
    else:
        if node.index is not None and is_last:
            state.forget_index(node)
        if held is not None:
            state.keep_removed(node, held)
        elif is_last:
            state.table.origins.pop(node.own, None)
    state.table.lose_name(node, parent, name)


def _hold_last_name(
    state: State, node: FileNode, parent: DirectoryNode, name: bytes, *, is_last: bool
) -> Removed | None:
    if node.lower is not None or state.table.find(node.ino) is not node:
        return None
    if not (is_last if node.index is not None else node.has_no_other_name(parent, name)):
        return None
    if isinstance(node.held, VolumeFile):
        if state.nameless.is_full:
            require_stage(None, parent.require_upper(), name)
        return state.nameless.hold(node.held.tree, os.dup(node.held.descriptor()))
    known = None if state.nameless.is_full else opened(state, node)
    if known is not None:
        return state.nameless.hold(known.tree, os.dup(known.fd))
    return keep_file(state.nameless, state.upper, parent.require_upper(), name)


def _cover(upper: Upper, directory: HostDirectory, name: bytes, *, taken: int) -> bytes | None:
    """Put a whiteout under a name; what was there, of type `taken`, is gone in the same step.

    Returns what is to be discarded, by its name on the stage.
    """
    if upper.style is WhiteoutStyle.AUFS:
        upper.add_whiteout(directory, name)
        return _taken_away(upper, directory, name) if taken else None
    if taken == stat.S_IFDIR:
        staged = upper.stage_whiteout()
        upper.place(staged, directory, name, RENAME_EXCHANGE)
        return staged
    if taken:
        upper.place(upper.stage_whiteout(), directory, name)
    else:
        upper.add_whiteout(directory, name)
    return None


def _taken_away(upper: Upper, directory: HostDirectory, name: bytes) -> bytes:
    """Move what stands beside its whiteout file to the stage; or else remove the whiteout."""
    try:
        return upper.unplace(directory, name)
    except OSError:
        upper.remove_twin(directory, name)
        raise
