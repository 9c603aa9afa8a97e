"""The nodes that users of the union refer to, and the numbers they know them by."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.numbering import SUBSTITUTES
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.union.nodes import FileNode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.layers.interface import LayerDirectory
    from overlayfs_py.union.nodes import DirectoryNode, Node

_FOR_EVER = -1


class Told(NamedTuple):
    """A file that a listing has told of, referred to once: all that its node is made of.

    Most names that are listed are never used again. A fourth of a node's memory, a tenth of its
    time; whoever asks the table for it gets the node.
    """

    ino: int  # as in the table: who asks for it has another object
    parent: DirectoryNode
    name: bytes
    type: int
    layer: LayerDirectory  # that has the name


class NodeTable:
    """Every held node by its inode number, and every directory above one.

    A node that nobody holds is not kept: a lookup makes a new one. Copied-up objects keep the
    number they had, which `origins` remembers by the number of the upper's inode.
    """

    def __init__(self, root: DirectoryNode, on_drop: Callable[[Node], None]) -> None:
        """Start with the root, which is never dropped; `on_drop` closes what a node has open."""
        self._nodes: dict[int, Node | Told] = {root.ino: root}
        self._on_drop = on_drop
        self.origins: dict[int, int] = {}
        self._owed: dict[int, int] = {}  # references to evicted nodes, by number
        self._substitutes: dict[object, int] = {}
        self._next_substitute = SUBSTITUTES
        # Numbers that must not become another object's, each with the references to what it was,
        # which nobody shows any more; `_FOR_EVER` where something else goes by a substitute for it.
        self._taken: dict[int, int] = {}
        root.pins = 1

    def __len__(self) -> int:
        return len(self._nodes)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._all())

    def _all(self) -> list[Node]:
        known = list(self._nodes.values())
        return [self._made(one) if isinstance(one, Told) else one for one in known]

    def find(self, ino: int) -> Node | None:
        """Return a kept node."""
        node = self._nodes.get(ino)
        return self._made(node) if isinstance(node, Told) else node

    def require(self, ino: int) -> Node:
        """Return a kept node; ESTALE if nobody refers to that number."""
        node = self._nodes.get(ino)
        if node is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), f"inode {ino}")
        return self._made(node) if isinstance(node, Told) else node

    def knows(self, ino: int) -> bool:
        """Whether a number is in use, or must not be."""
        return ino in self._nodes or ino in self._taken

    def takes_told(self, parent: DirectoryNode) -> bool:
        """Whether `tell` may be called for what is in a directory."""
        return self._is_kept(parent) and not self._owed

    def tell(
        self, ino: int, parent: DirectoryNode, name: bytes, file_type: int, layer: LayerDirectory
    ) -> bool:
        """Count one reference to a layer's file with one name, without a node; see `Told`.

        False, and nothing is counted, where its number is known already: a node tells more.
        """
        if ino in self._nodes or ino in self._taken:
            return False
        self._nodes[ino] = tuple.__new__(Told, (ino, parent, name, file_type, layer))
        parent.pins += 1
        return True

    def _made(self, told: Told) -> FileNode:
        ino, parent, name, file_type, layer = told
        node = FileNode(ino, file_type, parent, name, lower=layer.file(name, ino))
        node.holds = 1
        self._nodes[ino] = node
        return node

    def hold(self, node: Node) -> None:
        """Count one more reference to a node."""
        if self._nodes.get(node.ino) is not node:
            self._keep(node)
        node.holds += 1

    def release(self, ino: int, count: int) -> None:
        """Count `count` references less; the last one lets the node go."""
        node = self._nodes.get(ino)
        if isinstance(node, Told):
            if count > 0:
                del self._nodes[ino]
                self._unpin(node.parent)
        elif node is not None:
            node.holds -= min(count, node.holds)
            self._let_go(node)
        elif ino in self._owed:
            self._owed[ino] -= count
            if self._owed[ino] <= 0:
                del self._owed[ino]
        elif self._taken.get(ino, _FOR_EVER) != _FOR_EVER:
            self._taken[ino] -= count
            if self._taken[ino] <= 0:
                del self._taken[ino]

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
        number = self._substitutes.get(key)
        if number is None or number in self._taken:
            number = self._substitutes[key] = self._next_substitute
            self._next_substitute -= 1
        return number

    def is_taken(self, ino: int) -> bool:
        """Whether a number was that of something that is gone, see `begin_anew`."""
        return ino in self._taken

    def is_referred_to(self, ino: int) -> bool:
        """Whether somebody may refer to a number."""
        return ino in self._nodes or ino in self._taken

    def substitute_taken(self, ino: int) -> int:
        """Return what an object goes by whose number is taken, for good."""
        self._taken[ino] = _FOR_EVER
        return self.substitute((ino,))

    def take(self, ino: int) -> None:
        """Let nothing new have a number in this mount."""
        self._taken[ino] = _FOR_EVER

    def begin_anew(self, root: DirectoryNode) -> list[Node]:
        """Keep nothing but the root, and return what was kept, for `settle` or `retire`.

        References to evicted nodes are to nothing from now on, and so is what the upper's numbers
        stood for.
        """
        known = self._all()
        for ino, holds in self._owed.items():
            self._retire(ino, holds)
        self._owed.clear()
        self.origins.clear()
        self._substitutes = {
            key: number for key, number in self._substitutes.items() if not isinstance(key, int)
        }
        self._nodes = {root.ino: root}
        self.take(root.ino)
        return known

    def settle(self, node: Node) -> None:
        """Go on with a node that was known before; `count_pins` must follow."""
        self._nodes[node.ino] = node

    def retire(self, node: Node) -> None:
        """Let nothing have the number of a node that is gone, as long as it is referred to."""
        self._retire(node.ino, node.holds)
        node.holds = 0

    def _retire(self, ino: int, holds: int) -> None:
        before = self._taken.get(ino, 0)
        if holds and before != _FOR_EVER:
            self._taken[ino] = before + holds

    def count_pins(self, root: DirectoryNode) -> None:
        """Count anew which directories are above others, and drop what nobody needs."""
        nodes = self._all()
        for node in nodes:
            node.pins = 0
        root.pins = 1
        for node in nodes:
            for parent, _ in node.names():
                parent.pins += 1
        for node in nodes:
            self._let_go(node)

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
        if node.holds or node.pins or self._nodes.get(node.ino) is not node:
            return  # as nearly always
        pending = [node]
        while pending:
            victim = pending.pop()
            if victim.holds or victim.pins or not self._is_kept(victim):
                continue
            del self._nodes[victim.ino]
            self._on_drop(victim)
            if not victim.aliases:  # as nearly always
                if victim.parent is not None:
                    victim.parent.pins -= 1
                    pending.append(victim.parent)
                continue
            for parent, _ in victim.names():
                parent.pins -= 1
                pending.append(parent)
