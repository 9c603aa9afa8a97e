"""Before any change of an object: its own place in the upper, under every name it has."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.values import tree_index_of
from overlayfs_py.union import copy_up
from overlayfs_py.union.lookup import lookup
from overlayfs_py.union.moves import shown_at
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostObject
    from overlayfs_py.layers.interface import LayerFile
    from overlayfs_py.union.copy_up import CopyUp
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State


def make_writable(state: State, node: Node, need: Need = Need.DATA) -> HostObject:
    """Return where a node may be changed, copying up first what of it lies in a layer.

    Raises:
        OSError: EROFS without an upper or in a read-only volume.
    """
    if isinstance(node, DirectoryNode):
        return copy_up.copy_up_directory(state, node)
    assert isinstance(node, FileNode)
    lower = node.lower
    if lower is not None:
        _learn_a_name(state, node, lower)
        copy_up.copy_up_file(state, node, need)
        link_other_names(state, node, lower)
    elif node.below is not None:
        copy_up.copy_up_file(state, node, need)
    place = node.writable
    if place.tree.read_only:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), node.name)
    return place


def counts_hidden_links(state: State, node: FileNode) -> bool:
    """Whether a layer's file shows under no name, and has links that no deletion took.

    Something hides them: another layer, a whiteout that was there before.
    """
    if node.lower is None or node.parent is not None:
        return False
    _learn_a_name(state, node, node.lower)
    removed = state.removed_links.get(node.ino)
    links_removed = 0 if removed is None else removed.links
    return node.parent is None and state.attributes_below(node.lower).nlink > links_removed


def commit(state: State, copy: CopyUp) -> None:
    """Put a transferred copy in place, under every name of the file."""
    lower = copy.node.lower
    try:
        if lower is not None:
            _learn_a_name(state, copy.node, lower)
    except OSError:
        copy.discard()
        raise
    copy_up.commit(state, copy)
    if lower is not None:
        link_other_names(state, copy.node, lower)


def link_other_names(state: State, node: FileNode, lower: LayerFile) -> None:
    """Let all names that a layer's file has become links of its copy, at once.

    Were the others left to the layer, the upper alone would no longer say that they are one file,
    and they would show the old data at the next mount.
    """
    if state.attributes_below(lower).nlink > 1:
        # Where the layer still shows a name, looking it up links it.
        _look_at_all_names(state, node, lower)


def _learn_a_name(state: State, node: FileNode, lower: LayerFile) -> None:
    """Let a layer's file that lost the name it was known by be known by one that it still has.

    Its copy would otherwise have no place, and the other names could not become links of it.
    """
    if node.parent is None and state.attributes_below(lower).nlink > 1:
        # A lookup that comes across the node adds the name to it.
        _look_at_all_names(state, node, lower)


def _look_at_all_names(state: State, node: FileNode, lower: LayerFile) -> None:
    """Look up every name that a layer's file may show under, in place or moved."""
    trees_above = state.moves_above(tree_index_of(node.ino) - 1)
    state.table.hold(node)  # a lookup knows again only what is held
    try:
        for path in lower.other_names():
            for shown in shown_at(path, trees_above):
                parent = _find_directory(state, state.root, shown[:-1])
                if parent is not None:
                    lookup(state, parent, shown[-1])
    finally:
        state.table.release(node.ino, 1)


def _find_directory(
    state: State, here: DirectoryNode, path: tuple[bytes, ...]
) -> DirectoryNode | None:
    for name in path:
        below = lookup(state, here, name)
        if not isinstance(below, DirectoryNode):
            return None
        here = below
    return here
