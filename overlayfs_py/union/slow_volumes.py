"""Volumes on filesystems that may not answer: each is a union of its own, with its own lock.

Nothing in it is shared with the union around it, so it can be used by another thread: one at a
time, who holds the lock. The union around it has a door where it is attached, and sees no further.
"""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

from overlayfs_py.layers.root import open_volume_root
from overlayfs_py.layers.skeleton import SkeletonDirectory
from overlayfs_py.layers.volume import VolumeTree
from overlayfs_py.union.nodes import Backing, DirectoryNode
from overlayfs_py.union.state import State
from overlayfs_py.union.table import NodeTable

if TYPE_CHECKING:
    from overlayfs_py.union.values import Volume


class SlowState(State):
    """A slow volume, and the volumes attached inside it."""

    def __init__(self, around: State, volume: Volume) -> None:
        self._begin(around.spec._replace(lower=(), data_only=(), upper=None, work=None, volumes=()))
        self.upper = None
        self.roots, self.data_roots = {}, ()
        self.follows_metacopies = False
        self.mark_names = around.mark_names
        self.numbering = around.numbering
        self.lock = threading.Lock()
        with ExitStack() as undo:
            undo.callback(self.directories.clear)
            undo.callback(self.readers.clear)
            self.index = self.numbering.new_slot()
            fd = open_volume_root(volume.source)
            tree = VolumeTree(
                self.index,
                fd,
                self.spec.ids,
                self.directories,
                read_only=volume.read_only,
                keeps_atime=volume.read_only or self.spec.noatime,
            )
            undo.callback(tree.close)
            self.volumes.append(tree)
            self._first_fd = fd
            self.root = DirectoryNode(tree.root.attributes().ino, None, b"", tree.root, ())
            self.root.cacheable = False
            self.name_max = os.fstatvfs(fd).f_namemax
            self.table = NodeTable(self.root, self._drop)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Close everything, unless a thread still waits in there: it ends with the process."""
        if self.lock.acquire(blocking=False):
            super().close()


class Door(DirectoryNode):
    """Where a slow volume is attached; what it shows of itself is asked of nobody."""

    __slots__ = ("state",)

    def __init__(self, state: SlowState, parent: DirectoryNode, name: bytes) -> None:
        stand_in = Backing(0, SkeletonDirectory(state.index))
        super().__init__(state.root.ino, parent, name, None, (stand_in,))
        self.state = state
        self.cacheable = False


def share_room(main: State, slow: list[SlowState]) -> None:
    """Let all states together keep as many descriptors open as one may."""
    parts = len(slow) + 1
    limit, most = main.directories.limit // parts, main.nameless.most // parts
    for state in (main, *slow):
        state.directories.limit = state.readers.limit = limit
        state.nameless.most = most
