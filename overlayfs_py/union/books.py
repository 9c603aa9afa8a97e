"""The books of an upper: its account, brought up to date with what a change has touched."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostDirectory
from overlayfs_py.union.account import BLOCK_BYTES, Account
from overlayfs_py.union.nameless import DescriptorOfRemoved, ParkedFile
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.opened import opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.layers.host import HostFile
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State

_INLINE_LINK_BYTES = 59  # of a symbolic link's target, which ext4 keeps in the inode


class Books:
    """What the upper of a state takes, and will take. Nodes of volumes are none of it."""

    def __init__(self, state: State, limit_bytes: int) -> None:
        """Count all that is there: what a killed process has left is nowhere written down."""
        self._state = state
        self.upper = state.require_upper()
        self.account = Account(limit_bytes)
        self.unit = os.fstatvfs(self.upper.tree.root_fd()).f_frsize
        work = HostDirectory.opened(self.upper.tree, os.dup(self.upper.work_fd))
        try:
            self.account.count([self.upper.tree.root, work])
        finally:
            work.let_go()
        # Whether directories take blocks, and so may take one for each name more.
        self.of_directory = self.unit if self.upper.stage.status().st_blocks else 0

    # What there has to be room for.

    def size_of_directories(self, node: Node | None) -> int:
        """What it takes to copy a directory up, and those above it that are not there yet."""
        missing, here = 0, node
        while isinstance(here, DirectoryNode) and here.upper is None:
            missing, here = missing + 1, here.parent
        # The first of them is a name more in a directory that is there.
        return (missing + 1) * self.of_directory if missing else 0

    def size_of_data(self, node: FileNode, size: int) -> int:
        """What a copy of `size` bytes takes at most, as far as the layer tells."""
        if node.type != stat.S_IFREG or not size:
            return 0
        blocks = node.data.attributes().blocks if node.below is None else node.below.blocks
        taken = min(size, blocks * BLOCK_BYTES)
        return taken + -taken % self.unit

    def size_of_special(self, node: FileNode) -> int:
        """What a copy of anything but a regular file takes."""
        if node.type != stat.S_IFLNK or len(node.place.read_link()) <= _INLINE_LINK_BYTES:
            return 0
        return self.unit

    # Looking at what has changed.

    def inode_of(self, node: Node) -> os.stat_result | None:
        """The inode of what lies in the upper; None of what lies in a layer."""
        if isinstance(node, DirectoryNode):
            return None if node.upper is None else node.upper.status()
        if not isinstance(node, FileNode) or node.lower is not None:
            return None
        return (opened(self._state, node) or node.writable).status()

    def note(self, node: Node) -> None:
        """Count a node as it is now, and nothing else."""
        status = self.inode_of(node) if node.cacheable else None
        if status is not None:
            self.account.note(status)

    def _note_all(self, node: Node) -> None:
        """Count a node as it is now, and the directories that may have been made for it."""
        if isinstance(node, FileNode):
            self.note(node)
        directory = node if isinstance(node, DirectoryNode) else node.parent
        if directory is not None and node.cacheable:
            self._note_directory(directory)

    def _note_directory(self, node: DirectoryNode) -> None:
        """Count a directory, those above that are new, and the workdir's."""
        account, here = self.account, node
        while here.upper is not None:
            status = here.upper.status()
            was_known = account.knows(status.st_ino)
            account.note(status)
            if was_known or here.parent is None:
                break
            here = here.parent
        index = self.upper.index.directory
        for directory in (self.upper.stage, index):
            if directory is not None:
                account.note(directory.status())

    @contextmanager
    def touching(self, *nodes: Node) -> Iterator[None]:
        """Whatever becomes of the body: directories may have been copied up for it."""
        in_upper = [isinstance(node, FileNode) and node.lower is None for node in nodes]
        try:
            yield
        finally:
            for node, was_there in zip(nodes, in_upper, strict=True):
                (self.note if was_there else self._note_all)(node)

    @contextmanager
    def losing(self, parent: Node, node: Node | None) -> Iterator[None]:
        """While the body takes a name of `node` away: what goes with it is not counted any more."""
        inode = None if node is None or not node.cacheable else self.inode_of(node)
        entry = node.index if isinstance(node, FileNode) else None
        was_known = node is not None and self._state.table.find(node.ino) is node
        with self.touching(parent):
            yield
        if inode is None:
            return
        if isinstance(node, FileNode):
            was_last = inode.st_nlink == 1 if entry is None else not _exists(entry)
            is_gone = was_last and node.held is None
        else:
            # One that had whiteouts was replaced by one without before, see `renames`.
            is_gone = not was_known or _inode_of_removed(node) not in {None, inode.st_ino}
        if is_gone:
            self.account.forget(inode.st_ino)

    @contextmanager
    def dropping(self, ino: int) -> Iterator[None]:
        """While the body gives references to a node back: what has no name may go with them."""
        node = self._state.table.find(ino)
        inode = None if node is None or not node.cacheable else _inode_of_removed(node)
        yield
        if inode is not None and self._state.table.find(ino) is not node:
            self.account.forget(inode)

    @contextmanager
    def completing(self, node: FileNode) -> Iterator[None]:
        """While the body puts a copy in place: a metacopy may be another inode afterwards."""
        before = None if node.lower is not None else node.writable.status()
        kept = len(self.upper.kept)
        with self.touching(node):
            yield
        if before is not None and len(self.upper.kept) == kept:
            after = node.writable.status()
            if after.st_ino != before.st_ino:
                self.account.forget(before.st_ino)


def _exists(item: HostFile) -> bool:
    try:
        item.status()
    except FileNotFoundError:
        return False
    return True


def _inode_of_removed(node: Node | None) -> int | None:
    """The inode that goes with the last reference to a node."""
    if isinstance(node, FileNode) and isinstance(node.held, DescriptorOfRemoved | ParkedFile):
        # By a name that nobody has looked up it may go on.
        return node.held.status().st_ino if node.held.is_gone else None
    if isinstance(node, DirectoryNode) and node.removed and node.upper is not None:
        return node.upper.status().st_ino
    return None
