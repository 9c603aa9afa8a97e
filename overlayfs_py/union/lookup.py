"""From a directory and a name to a node, and from a directory to its names."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.errors import CorruptLayer
from overlayfs_py.layers.host import HostDirectory, HostFile
from overlayfs_py.layers.marks import is_reserved
from overlayfs_py.layers.values import WHITEOUT_TYPE, Absence, Attributes
from overlayfs_py.layers.xattrs import find_metacopy
from overlayfs_py.union import volume_nodes
from overlayfs_py.union.copy_up import link_upper
from overlayfs_py.union.lowers import find_lower, index_of, lower_names
from overlayfs_py.union.nodes import Backing, DataBelow, DirectoryNode, FileNode, Node
from overlayfs_py.union.search import directories_below, find_data

if TYPE_CHECKING:
    from overlayfs_py.layers.interface import LayerFile
    from overlayfs_py.layers.values import Finding
    from overlayfs_py.union.lowers import LowerSighting
    from overlayfs_py.union.state import State


class UpperState(NamedTuple):
    """What the writable directory of a node says about a name."""

    found: Finding
    by_file: bool  # a whiteout that is a file `.wh.NAME`, not something at the name itself


_NO_UPPER = UpperState(Absence.MISSING, by_file=False)


class Seen(NamedTuple):
    """A node, and the attributes of its place that looking it up has told already."""

    node: Node
    attributes: Attributes
    in_upper: bool = True  # or in a volume; else in a layer


def lookup(state: State, parent: DirectoryNode, name: bytes) -> Node | None:
    """Return the node that `name` shows, None if it shows nothing."""
    seen = look(state, parent, name)
    return None if seen is None else seen.node


def look(state: State, parent: DirectoryNode, name: bytes) -> Seen | None:
    """Return what `name` shows, None if it shows nothing."""
    if parent.removed:
        return None  # its layers still hold what its whiteouts hid
    attached = parent.attached.get(name)
    if attached is not None:
        return Seen(attached, attached.top.attributes())
    if not parent.cacheable:
        found_there = volume_nodes.look(state, parent, name)
        return None if found_there is None else Seen(*found_there)
    if len(name) > state.name_max:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)
    if is_reserved(name):
        return None
    if parent.upper is not None:
        found = _find_in_upper(parent, name)
        if isinstance(found, Attributes):
            return Seen(upper_node(state, parent, name, found), found)
        if found is Absence.WHITEOUT:
            return None
    sighting = find_lower(parent, name)
    if sighting is None:
        return None
    node = _lower_node(state, parent, name, sighting)
    if isinstance(node, FileNode) and node.lower is None:
        # Copied up by another of its names, and linked under this one unless the disk is full.
        in_upper = isinstance(upper_state(parent, name).found, Attributes)
        return Seen(node, node.place.attributes(), in_upper=in_upper)
    return Seen(node, sighting.attributes, in_upper=False)


def _find_in_upper(parent: DirectoryNode, name: bytes) -> Finding:
    upper = parent.require_upper()
    found = upper.find(name)
    is_deleted = found is Absence.MISSING and bool(parent.lowers) and upper.deletes(name)
    return Absence.WHITEOUT if is_deleted else found


def upper_state(parent: DirectoryNode, name: bytes) -> UpperState:
    """Look a name up in the writable directory alone."""
    if parent.upper is None:
        return _NO_UPPER
    found = parent.upper.find(name)
    if found is Absence.MISSING and parent.lowers and parent.upper.deletes(name):
        return UpperState(Absence.WHITEOUT, by_file=True)
    return UpperState(found, by_file=False)


def shown_below(parent: DirectoryNode, name: bytes) -> bool:
    """Whether the layers show a name, so that deleting it takes a whiteout."""
    lowers = parent.lowers
    if len(lowers) > 1:
        return index_of(parent).find(name) is not None
    return bool(lowers) and find_lower(parent, name) is not None


def names(node: DirectoryNode) -> list[bytes]:
    """Every name of a directory, each once, without "." and "..".

    The writable directory's names come first, then those of the layers, topmost first.
    """
    if node.removed:
        return []
    shown: dict[bytes, None] = {}
    deleted: set[bytes] = set()
    if node.upper is not None:
        for name, kind in node.upper.entries():
            if kind == WHITEOUT_TYPE:
                deleted.add(name)
            else:
                shown[name] = None
    for name in lower_names(node):
        if name not in deleted:
            shown[name] = None
    shown.update(dict.fromkeys(node.attached))
    return list(shown)


def upper_node(state: State, parent: DirectoryNode, name: bytes, found: Attributes) -> Node:
    """Return the node of an object that was just seen in the upper."""
    ino = state.table.origins.get(found.ino, found.ino)
    if ino != found.ino:
        found = found._replace(ino=ino)
    known = _known(state, parent, name, found)
    if known is not None:
        return known
    if not stat.S_ISDIR(found.mode):
        below = None
        if state.follows_metacopies and stat.S_ISREG(found.mode):
            below = _data_below(state, parent, HostFile(parent.require_upper(), name), name, -1)
        return FileNode(found, parent, name, below=below)
    upper = HostDirectory(parent.require_upper().tree, parent.require_upper(), name)
    marks = upper.marks(with_opaque_file=bool(parent.lowers))
    # A file `.wh.NAME` beside it deletes what it would merge with by its name, in an upper as in a
    # layer; a redirect leads there all the same.
    by_name = marks.redirect is None and bool(parent.lowers)
    merges = not (by_name and parent.require_upper().deletes(name))
    lowers = directories_below(state, parent, name, -1, marks) if merges else ()
    node = DirectoryNode(ino, parent, name, upper, lowers)
    node.redirect = marks.redirect
    return node


def _lower_node(state: State, parent: DirectoryNode, name: bytes, sighting: LowerSighting) -> Node:
    found = sighting.attributes
    backing = parent.lowers[sighting.at]
    known = _known(state, parent, name, found)
    if known is not None:
        if isinstance(known, FileNode) and known.lower is None:
            _link_copied(state, known, parent, name)
        return known
    if not stat.S_ISDIR(found.mode):
        file = backing.directory.file(name)
        below = None
        if state.follows_metacopies and stat.S_ISREG(found.mode):
            below = _data_below(state, parent, file, name, backing.position)
        return FileNode(found, parent, name, lower=file, below=below)
    directory = backing.directory.directory(name)
    top = backing.position
    merged: tuple[Backing, ...] = ()
    if top < len(state.roots) - 1:
        merged = directories_below(state, parent, name, top, directory.marks())
    return DirectoryNode(found.ino, parent, name, None, (Backing(top, directory), *merged))


def _data_below(
    state: State, parent: DirectoryNode, file: LayerFile, name: bytes, top: int
) -> DataBelow | None:
    """Where the data of a regular file is that was seen at position `top`; None: with it.

    Without `metacopy=on` nothing but layers that are there for it may hold another file's data.
    """
    metacopy = find_metacopy(file, name)
    if metacopy is None:
        return None
    data = find_data(state, parent, name, top, metacopy)
    if data is not None:
        return DataBelow(data, metacopy.redirect, data.attributes().blocks)
    if not state.spec.metacopy:
        return None  # opening it is refused
    raise CorruptLayer(name, "no layer below has the data of this file (metacopy)")


def _link_copied(state: State, node: FileNode, parent: DirectoryNode, name: bytes) -> None:
    """Link a name to the copy that another name has made: the layer's file is no longer this one.

    Where the disk is full the name shows the copy all the same, and a later lookup links it.
    """
    try:
        link_upper(state, node, parent, name)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        state.table.lose_name(node, parent, name)


def _known(state: State, parent: DirectoryNode, name: bytes, found: Attributes) -> Node | None:
    """Return the node with that number if there is one, taking note of where it was seen."""
    node = state.table.find(found.ino)
    if node is None or node is state.root:
        return node
    if isinstance(node, FileNode) and (found.nlink > 1 or node.parent is None):
        # Without a name it was known by one that is gone, and this is another.
        state.table.add_name(node, parent, name)
        state.let_go(node)
    return node
