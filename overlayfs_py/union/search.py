"""The way down the layers from an object: directories that merge with it, the data of a metacopy.

Redirects lead there as they lead the kernel: fs/overlayfs/namei.c, ovl_lookup.
"""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING, Literal

from overlayfs_py.layers.values import Absence, Attributes
from overlayfs_py.layers.xattrs import find_metacopy
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.union.lowers import index_of, sight
from overlayfs_py.union.nodes import Backing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from overlayfs_py.layers.interface import LayerDirectory, LayerFile
    from overlayfs_py.layers.values import Finding, Marks, Metacopy
    from overlayfs_py.union.nodes import DirectoryNode
    from overlayfs_py.union.state import State


def directories_below(
    state: State, parent: DirectoryNode, name: bytes, top: int, marks: Marks
) -> tuple[Backing, ...]:
    """The lower directories that merge under a directory seen at position `top`.

    `marks` are that topmost directory's own; each one found may redirect or end the search.
    """
    below: list[Backing] = []
    roots = state.roots
    search = _Search(roots, parent, name, for_directories=True)
    while not marks.opaque:
        if marks.redirect is not None and not state.spec.follows_redirects:
            _require_nothing_below(parent, name, top)
            break
        search.follow(marks.redirect)
        if search.ends:
            break
        found = search.next_after(top)
        directory = None if found is None else _as_directory(found)
        if directory is None:
            break
        below.append(directory)
        top = directory.position
        if top == state.bottom:
            break
        marks = directory.directory.marks()
    return tuple(below)


def _require_nothing_below(parent: DirectoryNode, name: bytes, top: int) -> None:
    """Refuse a redirect that would lead somewhere: what it hides is not what it shows.

    Source: fs/overlayfs/namei.c, ovl_lookup, "refusing to follow redirect".
    """
    if any(backing.position > top for backing in parent.lowers):
        reason = "it is redirected, and redirects are not followed (redirect_dir=nofollow)"
        raise PermissionError(errno.EPERM, reason, name)


def find_data(
    state: State, parent: DirectoryNode, name: bytes, top: int, metacopy: Metacopy
) -> LayerFile | None:
    """The file that has the data of a metacopy seen at position `top`.

    More metacopies may be on the way. Layers for data only are reached by an absolute redirect,
    and they alone without `metacopy=on`. Source: ovl_lookup_data_layers beside it.
    """
    search = _Search(state.roots, parent, name)
    search.follow(metacopy.redirect)
    while not search.ends:
        found = search.next_after(top)
        if found is None or not stat.S_ISREG(found.attributes.mode):
            break
        file = found.directory.file(found.name)
        further = find_metacopy(file, found.name)
        if further is None:
            return file if state.spec.metacopy else None
        search.follow(further.redirect)
        top = found.position
    return _find_in(state.data_roots, search.path) if search.path is not None else None


def _find_in(data_roots: Sequence[LayerDirectory], path: Sequence[bytes]) -> LayerFile | None:
    """The first regular file at a path; what layers mean by marks has no meaning here."""
    *above, name = path
    for root in data_roots:
        here: LayerDirectory | None = root
        for component in above:
            here = None if here is None else _below(here, component)
        found = Absence.MISSING if here is None else here.find(name)
        if here is not None and isinstance(found, Attributes) and stat.S_ISREG(found.mode):
            return here.file(name)
    return None


def _below(directory: LayerDirectory, name: bytes) -> LayerDirectory | None:
    found = directory.find(name)
    is_directory = isinstance(found, Attributes) and stat.S_ISDIR(found.mode)
    return directory.directory(name) if is_directory else None


class _Found(NamedTuple):
    """An object that a search came upon, and in which layer."""

    position: int
    directory: LayerDirectory  # that has it
    name: bytes
    attributes: Attributes


class _Search:
    """The way down the layers: by name beside the parent, or after a redirect by path."""

    def __init__(
        self,
        roots: Mapping[int, LayerDirectory],
        parent: DirectoryNode,
        name: bytes,
        *,
        for_directories: bool = False,
    ) -> None:
        self._roots = roots
        self._parent = parent
        self._name = name
        # The parent's index knows which directories merge, as long as no redirect leads elsewhere.
        self._by_index = for_directories and len(parent.lowers) > 1
        self.path: list[bytes] | None = None  # set by an absolute redirect
        self._hidden = False  # an opaque directory on the path hides the layers below it
        # A file `.wh.NAME` beside what was found last deletes what would merge with it by its name.
        self._deleted = False

    @property
    def ends(self) -> bool:
        """Whether the layers further down have nothing to add."""
        return self._hidden or self._deleted

    def follow(self, redirect: bytes | None) -> None:
        """Take an object's redirect into account for the layers below it."""
        if redirect is None:
            return
        self._by_index = self._deleted = False
        if redirect.startswith(b"/"):
            self.path = redirect[1:].split(b"/")
            self._hidden = False  # whatever was opaque lay on another path
        elif self.path is not None:
            self.path[-1] = redirect
        else:
            self._name = redirect

    def next_after(self, position: int) -> _Found | None:
        """What the next layer below `position` has there; None at a whiteout, or for nothing."""
        if self.path is not None:
            return self._next_by_path(position)
        if self._by_index:
            return self._next_by_index(position)
        for backing in self._parent.lowers:
            if backing.position > position:
                found = sight(backing.directory, self._name)
                if found is not Absence.MISSING:
                    self._deleted = backing.directory.deletes(self._name)
                    return _as_found(backing, self._name, found)
        return None

    def _next_by_index(self, position: int) -> _Found | None:
        for index in index_of(self._parent).merged(self._name):
            backing = self._parent.lowers[index]
            if backing.position > position:
                return _as_found(backing, self._name, backing.directory.find(self._name))
        return None

    def _next_by_path(self, position: int) -> _Found | None:
        for below, root in self._roots.items():
            if below <= position:
                continue
            found = self._walk(Backing(below, root))
            if found is not Absence.MISSING:
                return found
            if self.ends:
                return None
        return None

    def _walk(self, step: Backing) -> _Found | Literal[Absence.MISSING] | None:
        """Follow the path in one layer; None where something on it ends the search."""
        assert self.path is not None
        path = self.path
        last = len(path) - 1
        for depth, component in enumerate(path):
            sighted = sight(step.directory, component)
            if sighted is Absence.MISSING:
                return Absence.MISSING
            found = _as_found(step, component, sighted)
            deleted = step.directory.deletes(component)
            if depth == last or found is None:
                self._deleted = deleted
                return found
            directory = _as_directory(found)
            if directory is None:
                return None
            step = directory
            self._pass_through(step.directory, path[:depth], path[depth + 1 :], deleted=deleted)
        return None

    def _pass_through(
        self, directory: LayerDirectory, above: list[bytes], rest: list[bytes], *, deleted: bool
    ) -> None:
        """Heed the marks of a directory on the way: they count for the layers below it."""
        marks = directory.marks()
        self._hidden = self._hidden or marks.opaque or (deleted and marks.redirect is None)
        if marks.redirect is None or marks.opaque:
            return
        if marks.redirect.startswith(b"/"):
            self.path = marks.redirect[1:].split(b"/") + rest
            self._hidden = False
        else:
            self.path = [*above, marks.redirect, *rest]


def _as_found(backing: Backing, name: bytes, found: Finding) -> _Found | None:
    if not isinstance(found, Attributes):
        return None
    return _Found(backing.position, backing.directory, name, found)


def _as_directory(found: _Found) -> Backing | None:
    if not stat.S_ISDIR(found.attributes.mode):
        return None
    ino = found.attributes.ino
    return Backing(found.position, found.directory.directory(found.name, ino), ino)
