"""The nodes of volumes: inodes that others may rename, replace and remove at any time.

A name is looked up on the host each time. It shows the node that was known only if it is the same
inode: one that is kept open cannot have given its number away, any other is compared.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.held import ByDescriptor
from overlayfs_py.layers.host import HostFile
from overlayfs_py.layers.host_opening import open_again
from overlayfs_py.layers.volume import (
    VolumeDirectory,
    VolumeTree,
    identity_of,
    open_object,
    reopen_object,
)
from overlayfs_py.union.nameless import DescriptorOfRemoved
from overlayfs_py.union.nodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.layers.volume import Identity
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State


class VolumeFile(ByDescriptor, HostFile):
    """A file of a volume, by a descriptor that is opened again by the name of its node."""

    __slots__ = ("_node", "identity")

    def __init__(self, tree: VolumeTree, node: FileNode, identity: Identity) -> None:
        self.tree = tree
        self.parent = None
        self.name = b""
        self.identity = identity
        self._node = node

    def descriptor(self) -> int:
        known = self.tree.descriptors.find(self)
        if known is None:
            node = self._node
            if node.parent is None:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), node.name)
            directory_fd = node.parent.require_upper().fd()
            known = reopen_object(directory_fd, node.name, self.identity)
            self.tree.descriptors.put(self, known)
        return known

    def place(self) -> tuple[int, bytes]:
        raise FileNotFoundError(errno.ENOENT, "a volume's file is no name")

    def open_inode(self, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NONBLOCK
        return open_again(self.descriptor(), flags, as_owner=False, noatime=self.tree.noatime)

    @property
    def is_open(self) -> bool:
        """Whether its inode is kept, and so its number is no other's."""
        return self.tree.descriptors.find(self) is not None

    @property
    def is_gone(self) -> bool:
        """Nothing is remembered of what others may remove."""
        return False

    def close(self) -> None:
        """Close its descriptor, if it has one."""
        self.tree.descriptors.drop(self)


def adopt(state: State, parent: DirectoryNode, name: bytes, fd: int) -> tuple[FileNode, Attributes]:
    """Return the node of a file that was just made under a name, and is open as `fd`.

    By its descriptor: by now the name may be another's file, which nobody has been allowed to open.
    """
    tree = parent.require_upper().tree
    assert isinstance(tree, VolumeTree)
    identity, found = identity_of(fd), tree.attributes_of(os.fstat(fd), None)
    node = _new_node(state, tree, parent, name, found, identity)
    assert isinstance(node, FileNode)
    _keep_open(tree, node, os.open(b"/proc/self/fd/%d" % fd, os.O_PATH | os.O_CLOEXEC))
    return node, found._replace(ino=node.ino)


def hold_again(state: State, node: FileNode) -> None:
    """Let a file that had lost its last name be known by the one that it has now."""
    held, tree = node.held, node.writable.tree
    assert isinstance(held, DescriptorOfRemoved)
    assert isinstance(tree, VolumeTree)
    fd = os.dup(held.descriptor())
    held.close()
    node.held = VolumeFile(tree, node, identity_of(fd))
    tree.descriptors.put(node.held, fd)


def forget(node: Node) -> None:
    """Nobody uses a node of a volume any more: its number is free."""
    place = node.upper if isinstance(node, DirectoryNode) else _held(node)
    if isinstance(place, VolumeDirectory | VolumeFile) and isinstance(place.tree, VolumeTree):
        place.tree.forget_number(place.identity)


def look(state: State, parent: DirectoryNode, name: bytes) -> tuple[Node, Attributes] | None:
    """Return what a name of a volume shows, None if it shows nothing."""
    directory = parent.require_upper()
    tree = directory.tree
    assert isinstance(tree, VolumeTree)
    try:
        status = os.stat(name, dir_fd=directory.fd(), follow_symlinks=False)
    except FileNotFoundError:
        return None
    node = state.table.find(tree.ino_of(status))
    if node is not None and _is_open(node):
        _note_place(state, node, parent, name)
        return node, tree.attributes_of(status, None)._replace(ino=node.ino)
    return _look_closely(state, tree, parent, name)


def _look_closely(
    state: State, tree: VolumeTree, parent: DirectoryNode, name: bytes
) -> tuple[Node, Attributes] | None:
    try:
        fd = open_object(parent.require_upper().fd(), name)
    except FileNotFoundError:  # since the look before
        return None
    try:
        identity = identity_of(fd)
        found = tree.attributes_of(os.fstat(fd), None)
        node = _known(state, tree, identity, found.ino)
        if node is None:
            node = _new_node(state, tree, parent, name, found, identity)
        else:
            _note_place(state, node, parent, name)
    except BaseException:
        os.close(fd)
        raise
    _keep_open(tree, node, fd)
    return node, found._replace(ino=node.ino)


def _known(state: State, tree: VolumeTree, identity: Identity, number: int) -> Node | None:
    """The node of an inode, by its own number or the one it has got instead."""
    for candidate in (number, tree.number_instead(identity)):
        node = None if candidate is None else state.table.find(candidate)
        known = None if node is None else _identity_behind(node)
        if known is not None and known.is_surely(identity):
            return node
    return None


def _identity_behind(node: Node) -> Identity | None:
    """What a node of a volume is; None for one that a descriptor of its own keeps."""
    place = node.upper if isinstance(node, DirectoryNode) else _held(node)
    return place.identity if isinstance(place, VolumeDirectory | VolumeFile) else None


def _held(node: Node) -> HostFile | None:
    return node.held if isinstance(node, FileNode) else None


def _is_open(node: Node) -> bool:
    if isinstance(node, DirectoryNode):
        return isinstance(node.upper, VolumeDirectory) and node.upper.is_open
    held = _held(node)
    return held.is_open if isinstance(held, VolumeFile) else held is not None


def _new_node(
    state: State,
    tree: VolumeTree,
    parent: DirectoryNode,
    name: bytes,
    found: Attributes,
    identity: Identity,
) -> Node:
    if state.table.find(found.ino) is not None:
        # Of one that is gone, and still in use: what is open there must not become this one.
        found = found._replace(ino=tree.renumber(identity))
    node: DirectoryNode | FileNode
    if stat.S_ISDIR(found.mode):
        upper = VolumeDirectory(tree, parent.require_upper(), name, identity)
        node = DirectoryNode(found.ino, parent, name, upper, ())
    else:
        node = FileNode(found.ino, found.mode, parent, name)
        node.held = VolumeFile(tree, node, identity)
    node.cacheable = False
    return node


def _keep_open(tree: VolumeTree, node: Node, fd: int) -> None:
    """Hand over an O_PATH descriptor of a node."""
    held = _held(node)
    if isinstance(held, VolumeFile):
        tree.descriptors.put(held, fd)
    elif isinstance(node, DirectoryNode) and isinstance(node.upper, VolumeDirectory):
        node.upper.keep_open(fd)
    else:
        os.close(fd)


def _note_place(state: State, node: Node, parent: DirectoryNode, name: bytes) -> None:
    """Of several names the one just seen: others may have renamed or removed the rest."""
    if node is state.root or node.names() == [(parent, name)]:
        return
    state.table.add_name(node, parent, name)
    for old in node.names():
        if old != (parent, name):
            state.table.lose_name(node, *old)
    if isinstance(node, DirectoryNode):
        node.require_upper().move(parent.require_upper(), name)
    elif isinstance(node, FileNode):
        state.let_go(node)
