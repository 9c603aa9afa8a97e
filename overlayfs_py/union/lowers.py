"""The read-only part of a merged directory: which layer shows a name, where its layers merge.

Layers never change, so what is found here holds for the life of the mount. Sources:
Documentation/filesystems/overlayfs.rst, "Merged directories"; fs/overlayfs/namei.c for redirects.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, Literal, NamedTuple

from overlayfs_py.layers.values import WHITEOUT_TYPE, Absence, Attributes, Finding, Marks
from overlayfs_py.union.nodes import Backing

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.layers.interface import LayerDirectory
    from overlayfs_py.union.nodes import DirectoryNode


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


def directories_below(
    roots: Sequence[LayerDirectory], parent: DirectoryNode, name: bytes, top: int, marks: Marks
) -> tuple[Backing, ...]:
    """The lower directories that merge under a directory seen at position `top` (-1: the upper).

    `marks` are that topmost directory's own; each one found may redirect or end the search.
    """
    below: list[Backing] = []
    search = _Search(roots, parent, name)
    while not marks.opaque:
        search.follow(marks.redirect)
        found = search.next_after(top)
        if found is None:
            break
        below.append(found)
        top = found.position
        if search.ends or top == len(roots) - 1:
            break
        marks = found.directory.marks()
    return tuple(below)


class _Search:
    """The way down the layers: by name beside the parent, or after a redirect by path."""

    def __init__(self, roots: Sequence[LayerDirectory], parent: DirectoryNode, name: bytes) -> None:
        self._roots = roots
        self._parent = parent
        self._name = name
        self._path: list[bytes] | None = None  # set by an absolute redirect
        self._redirected = False
        self.ends = False  # an opaque directory on the path hides the layers below it

    def follow(self, redirect: bytes | None) -> None:
        """Take a directory's redirect into account for the layers below it."""
        if redirect is None:
            return
        self._redirected = True
        if redirect.startswith(b"/"):
            self._path = redirect[1:].split(b"/")
        elif self._path is not None:
            self._path[-1] = redirect
        else:
            self._name = redirect

    def next_after(self, position: int) -> Backing | None:
        """The next layer below `position` that adds a directory; None at a name that ends it."""
        if self._path is not None:
            return self._next_by_path(position)
        if not self._redirected and len(self._parent.lowers) > 1:
            return self._next_by_index(position)
        for backing in self._parent.lowers:
            if backing.position > position:
                found = sight(backing.directory, self._name)
                if found is not Absence.MISSING:
                    return _as_directory(backing, self._name, found)
        return None

    def _next_by_index(self, position: int) -> Backing | None:
        for index in index_of(self._parent).merged(self._name):
            backing = self._parent.lowers[index]
            if backing.position > position:
                found = backing.directory.find(self._name)
                return _as_directory(backing, self._name, found)
        return None

    def _next_by_path(self, position: int) -> Backing | None:
        for below in range(position + 1, len(self._roots)):
            found = self._walk(Backing(below, self._roots[below]))
            if found is not Absence.MISSING:
                return found
            if self.ends:
                return None
        return None

    def _walk(self, step: Backing) -> Backing | Literal[Absence.MISSING] | None:
        """Follow the path in one layer; None where something on it ends the search."""
        assert self._path is not None
        path = self._path
        for depth, component in enumerate(path):
            found = sight(step.directory, component)
            if found is Absence.MISSING:
                return Absence.MISSING
            directory = _as_directory(step, component, found)
            if directory is None:
                return None
            step = directory
            if depth < len(path) - 1:
                self._pass_through(step.directory, path[:depth], path[depth + 1 :])
        return step

    def _pass_through(
        self, directory: LayerDirectory, above: list[bytes], rest: list[bytes]
    ) -> None:
        """Heed the marks of a directory on the way: they count for the layers below it."""
        marks = directory.marks()
        self.ends = self.ends or marks.opaque
        if marks.redirect is None:
            return
        if marks.redirect.startswith(b"/"):
            self._path = marks.redirect[1:].split(b"/") + rest
        else:
            self._path = [*above, marks.redirect, *rest]


def _as_directory(backing: Backing, name: bytes, found: Finding) -> Backing | None:
    if not isinstance(found, Attributes) or not stat.S_ISDIR(found.mode):
        return None
    return Backing(backing.position, backing.directory.directory(name))
