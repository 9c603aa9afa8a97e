"""Before any change of an object: its own place in the upper."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.values import Attributes
from overlayfs_py.union import copy_up
from overlayfs_py.union.lookup import upper_state
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostObject
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
    if node.lower is not None or node.below is not None:
        copy_up.copy_up_file(state, node, need)
    place = node.writable
    if place.tree.read_only:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), node.name)
    return place


def bring_name(state: State, node: FileNode, parent: DirectoryNode, name: bytes) -> None:
    """Let a name of a writable file that shows from below be in the upper, to be changed itself."""
    if node.index is not None and not isinstance(upper_state(parent, name).found, Attributes):
        copy_up.link_up(state, node, parent, name)
