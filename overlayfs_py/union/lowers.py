"""The read-only part of a merged directory: which layer shows a name, where its layers merge.

Layers never change, so what is found here holds for the life of the mount. Source:
Documentation/filesystems/overlayfs.rst, "Merged directories".
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.values import WHITEOUT_TYPE, Absence, Attributes, Finding
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.union.steps import batches, finished

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.layers.interface import LayerDirectory
    from overlayfs_py.layers.values import Entry
    from overlayfs_py.union.nodes import Backing, DirectoryNode
    from overlayfs_py.union.steps import Steps

_LARGE = 8192  # names, in all layers together: to list them takes about 10 ms


class LowerIndex:
    """What several layers' directories show together, read in one listing of each.

    A name then resolves in one step: to the topmost layer that shows it, and for a directory to
    those below that merge with it.
    """

    __slots__ = ("_first", "_merged")

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}  # name -> index in `lowers`
        self._merged: dict[bytes, list[int]] = {}  # directories in more than one layer

    def __len__(self) -> int:
        return len(self._first)

    def reading(self, lowers: Sequence[Backing], *, apart: bool) -> Steps[None]:
        """Fill it, in steps."""
        open_directories: set[bytes] = set()  # shown directories that more layers may add to
        deleted: set[bytes] = set()
        for index, backing in enumerate(lowers):
            deleted_here = set()
            for batch in batches(backing.directory.entries(apart=apart)):
                for name, kind in batch:
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
                yield
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


class LowerSearch:
    """What a `LowerIndex` tells, of large directories that nobody has listed: asks each layer.

    Reading one takes so long that no lookup may do it.
    """

    __slots__ = ("_lowers",)

    def __init__(self, lowers: Sequence[Backing]) -> None:
        self._lowers = lowers

    def find(self, name: bytes) -> int | None:
        """The index of the topmost lower directory that shows `name`."""
        for index, backing in enumerate(self._lowers):
            found = sight(backing.directory, name)
            if found is not Absence.MISSING:
                return index if isinstance(found, Attributes) else None
        return None

    def merged(self, name: bytes) -> Sequence[int]:
        """The indexes of all that merge under the directory `name`, topmost first."""
        merged: list[int] = []
        for index, backing in enumerate(self._lowers):
            found = sight(backing.directory, name)
            if isinstance(found, Attributes):
                if merged and not stat.S_ISDIR(found.mode):
                    break
                merged.append(index)
                if not stat.S_ISDIR(found.mode) or backing.directory.deletes(name):
                    break
            elif found is not Absence.MISSING:
                break
        return merged


class LowerSighting(NamedTuple):
    """Where the layers of a directory show a name: its place in `lowers`, and what is there."""

    at: int
    attributes: Attributes


def index_of(node: DirectoryNode) -> LowerIndex | LowerSearch:
    """The node's index of its layers: read on first use, of large ones when they are listed."""
    if node.lower_index is None:
        if _length_below(node) >= _LARGE:
            node.lower_index = LowerSearch(node.lowers)
        else:
            finished(_indexing(node, apart=False))
    assert node.lower_index is not None
    return node.lower_index


def _indexing(node: DirectoryNode, *, apart: bool) -> Steps[LowerIndex]:
    """Read the index of a node, and let it have it, whole."""
    index = LowerIndex()
    yield from index.reading(node.lowers, apart=apart)
    node.lower_index = index
    return index


def lists_long(node: DirectoryNode) -> bool:
    """Whether listing a directory takes so long that it should be done in steps."""
    if node.upper is not None and node.upper.length() >= _LARGE:
        return True
    if len(node.lowers) > 1:
        index = index_of(node)
        return isinstance(index, LowerSearch) or len(index) > _LARGE
    return _length_below(node) >= _LARGE


def _length_below(node: DirectoryNode) -> int:
    if len(node.lowers) == 1:
        return node.lowers[0].directory.length()
    return sum(backing.directory.length() for backing in node.lowers)


def find_lower(node: DirectoryNode, name: bytes) -> LowerSighting | None:
    """What the layers of a directory show under `name`, the upper left aside."""
    if not node.lowers:
        return None
    index = 0 if len(node.lowers) == 1 else index_of(node).find(name)
    if index is None:
        return None
    found = node.lowers[index].directory.find(name)
    return LowerSighting(index, found) if isinstance(found, Attributes) else None


def naming_lower(node: DirectoryNode, *, apart: bool) -> Steps[Iterator[bytes]]:
    """Return every name that the layers of a directory show, each once; `apart` as in a layer."""
    if len(node.lowers) > 1:
        index = index_of(node)
        if isinstance(index, LowerSearch):
            index = yield from _indexing(node, apart=apart)
        return index.names()
    if node.lowers:
        return _shown(node.lowers[0].directory.entries(apart=apart))
    return iter(())


def _shown(entries: Iterator[Entry]) -> Iterator[bytes]:
    return (name for name, kind in entries if kind != WHITEOUT_TYPE)


def sight(directory: LayerDirectory, name: bytes) -> Finding:
    """Look a name up in one layer, deletions by a file `.wh.NAME` included."""
    found = directory.find(name)
    if found is Absence.MISSING and directory.deletes(name):
        return Absence.WHITEOUT
    return found
