"""The read-only part of a merged directory: which layer shows a name, where its layers merge.

Layers never change, so what is found here holds for the life of the mount. Source:
Documentation/filesystems/overlayfs.rst, "Merged directories".
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.layers.values import WHITEOUT_TYPE, Absence, Attributes, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.layers.interface import LayerDirectory
    from overlayfs_py.union.nodes import Backing, DirectoryNode


class LowerIndex:
    """What several layers' directories show together, read in one listing of each.

    A name then resolves in one step: to the topmost layer that shows it, and for a directory to
    those below that merge with it.
    """

    __slots__ = ("_first", "_merged")

    def __init__(self, lowers: Sequence[Backing]) -> None:
        self._first: dict[bytes, int] = {}  # name -> index in `lowers`
        self._merged: dict[bytes, list[int]] = {}  # directories in more than one layer
        open_directories: set[bytes] = set()  # shown directories that more layers may add to
        deleted: set[bytes] = set()
        for index, backing in enumerate(lowers):
            deleted_here = set()
            for name, kind in backing.directory.entries():
                if kind == WHITEOUT_TYPE:
                    deleted_here.add(name)
                elif name in self._first:
                    if kind != stat.S_IFDIR:
                        open_directories.discard(name)
                    elif name in open_directories:
                        self._merged.setdefault(name, [self._first[name]]).append(index)
                elif name not in deleted:
                    self._first[name] = index
                    if kind == stat.S_IFDIR:
                        open_directories.add(name)
            deleted |= deleted_here
            # A whiteout deletes from the layers below its own; see `Entry`.
            open_directories -= deleted_here

    def find(self, name: bytes) -> int | None:
        """The index of the topmost lower directory that shows `name`."""
        return self._first.get(name)

    def merged(self, name: bytes) -> Sequence[int]:
        """The indexes of all that merge under the directory `name`, topmost first."""
        first = self._first.get(name)
        return self._merged.get(name) or (() if first is None else (first,))

    def names(self) -> Iterator[bytes]:
        """Every name shown, those of the topmost layer first."""
        return iter(self._first)


class LowerSighting(NamedTuple):
    """Where the layers of a directory show a name: its place in `lowers`, and what is there."""

    at: int
    attributes: Attributes


def index_of(node: DirectoryNode) -> LowerIndex:
    """The node's index of its layers, read on first use."""
    if node.lower_index is None:
        node.lower_index = LowerIndex(node.lowers)
    return node.lower_index


def find_lower(node: DirectoryNode, name: bytes) -> LowerSighting | None:
    """What the layers of a directory show under `name`, the upper left aside."""
    if not node.lowers:
        return None
    index = 0 if len(node.lowers) == 1 else index_of(node).find(name)
    if index is None:
        return None
    found = node.lowers[index].directory.find(name)
    return LowerSighting(index, found) if isinstance(found, Attributes) else None


def lower_names(node: DirectoryNode) -> Iterator[bytes]:
    """Every name that the layers of a directory show, each once."""
    if len(node.lowers) > 1:
        yield from index_of(node).names()
    elif node.lowers:
        for name, kind in node.lowers[0].directory.entries():
            if kind != WHITEOUT_TYPE:
                yield name


def sight(directory: LayerDirectory, name: bytes) -> Finding:
    """Look a name up in one layer, deletions by a file `.wh.NAME` included."""
    found = directory.find(name)
    if found is Absence.MISSING and directory.deletes(name):
        return Absence.WHITEOUT
    return found
