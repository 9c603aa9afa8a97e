"""The nodes that users of the union refer to, and the numbers they know them by."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.numbering import SUBSTITUTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.union.nodes import DirectoryNode, Node


class NodeTable:
    """Every held node by its inode number, and every directory above one.

    A node that nobody holds is not kept: a lookup makes a new one. Copied-up objects keep the
    number they had, which `origins` remembers by the number of the upper's inode.
    """

    def __init__(self, root: DirectoryNode, on_drop: Callable[[Node], None]) -> None:
        """Start with the root, which is never dropped; `on_drop` closes what a node has open."""
        self._nodes: dict[int, Node] = {root.ino: root}
        self._on_drop = on_drop
        self.origins: dict[int, int] = {}
        self._owed: dict[int, int] = {}  # references to evicted nodes, by number
        self._substitutes: dict[object, int] = {}
        root.pins = 1

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self._nodes.values()))

    def find(self, ino: int) -> Node | None:
        """Return a kept node."""
        return self._nodes.get(ino)

    def require(self, ino: int) -> Node:
        """Return a kept node; ESTALE if nobody refers to that number."""
        node = self._nodes.get(ino)
        if node is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), f"inode {ino}")
        return node

    def hold(self, node: Node) -> None:
        """Count one more reference to a node."""
        if self._nodes.get(node.ino) is not node:
            self._keep(node)
        node.holds += 1

    def release(self, ino: int, count: int) -> None:
        """Count `count` references less; the last one lets the node go."""
        node = self._nodes.get(ino)
        if node is not None:
            node.holds -= min(count, node.holds)
            self._let_go(node)
        elif ino in self._owed:
            self._owed[ino] -= count
            if self._owed[ino] <= 0:
                del self._owed[ino]

    def add_name(self, node: Node, parent: DirectoryNode, name: bytes) -> None:
        """Let a node be known by a further name."""
        if not node.has_name(parent, name):
            if self._is_kept(node):
                self._pin(parent)
            node.add_name(parent, name)

    def lose_name(self, node: Node, parent: DirectoryNode, name: bytes) -> None:
        """Let a node no longer be known by a name."""
        if node.has_name(parent, name):
            node.lose_name(parent, name)
            if self._is_kept(node):
                self._unpin(parent)

    def replace_name(
        self,
        node: Node,
        old: tuple[DirectoryNode, bytes],
        new: tuple[DirectoryNode, bytes],
    ) -> None:
        """Let a node be known by one name instead of another."""
        if not node.aliases and old[0] is new[0] is node.parent and node.name == old[1]:
            node.name = new[1]  # as nearly always
            return
        self.add_name(node, *new)
        self.lose_name(node, *old)

    def substitute(self, key: object) -> int:
        """Return a number that nothing else has, for what another goes by the number of."""
        return self._substitutes.setdefault(key, SUBSTITUTES - len(self._substitutes))

    def evict(self, node: Node) -> None:
        """Let another node have the number of one that is no longer there.

        References are counted by number: the next node to be held takes them over.
        """
        if self._is_kept(node):
            self._owed[node.ino] = self._owed.get(node.ino, 0) + node.holds
            node.holds = 0
            self._let_go(node)

    def _is_kept(self, node: Node) -> bool:
        return self._nodes.get(node.ino) is node

    def _keep(self, node: Node) -> None:
        """Keep a node, and all directories above it: one after the other, there may be many."""
        parent = node.parent
        if parent is not None and not node.aliases and not self._owed and self._is_kept(parent):
            self._nodes[node.ino] = node  # as nearly always
            parent.pins += 1
            return
        pending = [node]
        while pending:
            kept = pending.pop()
            self._nodes[kept.ino] = kept
            if self._owed:
                kept.holds += self._owed.pop(kept.ino, 0)
            for above, _ in kept.names():
                if not self._is_kept(above):
                    pending.append(above)
                above.pins += 1

    def _pin(self, directory: DirectoryNode) -> None:
        """Keep a directory for a node below it."""
        if not self._is_kept(directory):
            self._keep(directory)
        directory.pins += 1

    def _unpin(self, directory: DirectoryNode) -> None:
        directory.pins -= 1
        self._let_go(directory)

    def _let_go(self, node: Node) -> None:
        """Drop a node that nobody needs, then the directories that only it needed."""
        pending = [node]
        while pending:
            victim = pending.pop()
            if victim.holds or victim.pins or not self._is_kept(victim):
                continue
            del self._nodes[victim.ino]
            self._on_drop(victim)
            for parent, _ in victim.names():
                parent.pins -= 1
                pending.append(parent)
