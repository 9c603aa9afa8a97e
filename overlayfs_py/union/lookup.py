"""From a directory and a name to a node, and from a directory to its names."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.errors import CorruptLayer
from overlayfs_py.layers.host import HostDirectory, HostFile
from overlayfs_py.layers.marks import is_reserved
from overlayfs_py.layers.values import Absence, Attributes
from overlayfs_py.layers.xattrs import find_metacopy
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.union import volume_nodes
from overlayfs_py.union.lowers import find_lower, index_of
from overlayfs_py.union.nodes import Backing, DataBelow, DirectoryNode, FileNode, Node
from overlayfs_py.union.origins import (
    is_known_as,
    number_in_kept,
    number_of_copy,
    number_of_merged,
    read_origin,
)
from overlayfs_py.union.search import directories_below, find_data

if TYPE_CHECKING:
    from overlayfs_py.layers.interface import LayerFile
    from overlayfs_py.layers.values import Finding
    from overlayfs_py.union.lowers import LowerSighting
    from overlayfs_py.union.origins import Copied
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
    if state.kept.holds(parent.lowers[sighting.at].position):
        return _look_in_kept(state, parent, name, sighting)
    if sighting.attributes.nlink > 1 and not stat.S_ISDIR(sighting.attributes.mode):
        if state.copies is None:
            copied = _copied_by_another_name(state, parent, name, sighting)
        else:
            copied = _copied_in_top_layer(state, parent, name, sighting)
        if copied is not None:
            return copied
    node = _lower_node(state, parent, name, sighting)
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


def upper_node(state: State, parent: DirectoryNode, name: bytes, found: Attributes) -> Node:
    """Return the node of an object that was just seen in the upper."""
    if stat.S_ISDIR(found.mode):
        return _upper_directory(state, parent, name, found)
    own = found.ino
    ino = state.table.origins.get(own)
    origin = None
    if ino is None:
        ino = own
        node = state.table.find(own)
        if node is None or not is_known_as(node, own):
            if parent.impure:
                origin = read_origin(state, parent, name, own)
            ino = number_of_copy(state, own, None if origin is None else origin.number)
    if ino != own:
        found = found._replace(ino=ino)
    known = _known(state, parent, name, found)
    return known or _upper_file(state, parent, name, found, own, origin)


def _upper_file(
    state: State,
    parent: DirectoryNode,
    name: bytes,
    found: Attributes,
    own: int,
    origin: Copied | None,
) -> FileNode:
    below = None
    if state.follows_metacopies and stat.S_ISREG(found.mode):
        file_there = HostFile(parent.require_upper(), name)
        below = _data_below(state, parent, file_there, name, state.above)
    file = FileNode(
        found.ino, found.mode, parent, name, below=below, own=own, is_copy=origin is not None
    )
    if origin is not None and origin.entry is not None:
        state.keep_index(file, origin.entry)
    return file


def _upper_directory(state: State, parent: DirectoryNode, name: bytes, found: Attributes) -> Node:
    """Return the node of a directory; one that merges has the number of the topmost layer's."""
    own = found.ino
    number = state.table.origins.get(own, own)
    node = state.table.find(number)
    if isinstance(node, FileNode) or (number == own and state.table.is_taken(own)):
        number = state.table.origins[own] = state.table.substitute(own)
    if number != own:
        found = found._replace(ino=number)
    known = _known(state, parent, name, found)
    if known is not None:
        return known
    upper = HostDirectory(parent.require_upper().tree, parent.require_upper(), name)
    marks = upper.marks(with_opaque_file=bool(parent.lowers))
    # A file `.wh.NAME` beside it deletes what it would merge with by its name, in an upper as in a
    # layer; a redirect leads there all the same.
    by_name = marks.redirect is None and bool(parent.lowers)
    merges = not (by_name and parent.require_upper().deletes(name))
    lowers = directories_below(state, parent, name, state.above, marks) if merges else ()
    wanted = number_of_merged(state, lowers) if lowers else own
    if number == own != wanted and state.table.find(wanted) is None:
        if state.table.is_taken(wanted):
            wanted = state.table.substitute_taken(wanted)
        number = state.table.origins[own] = wanted
    node = DirectoryNode(number, parent, name, upper, lowers)
    node.redirect, node.impure = marks.redirect, marks.impure
    return node


def _copied_by_another_name(
    state: State, parent: DirectoryNode, name: bytes, sighting: LowerSighting
) -> Seen | None:
    """Return the copy of a file that shows from below, and was copied up under another name."""
    found, upper = sighting.attributes, state.upper
    if upper is None or upper.index.is_empty:
        return None
    backing = parent.lowers[sighting.at]
    entry = upper.index.find(backing.directory.file(name).origin().to_bytes())
    if entry is None:
        return None
    copy = entry.attributes()
    own = copy.ino
    number = state.table.origins.get(own)
    if number is None:
        number = number_of_copy(state, own, found.ino)
    node = state.table.find(number)
    if not isinstance(node, FileNode):
        below = None
        if state.follows_metacopies and stat.S_ISREG(copy.mode):
            below = _data_below(state, parent, entry, name, state.above)
        copy = copy._replace(ino=number)
        node = FileNode(
            copy.ino, copy.mode, parent, name, below=below, own=own, is_copy=upper.takes_xattrs
        )
    state.table.add_name(node, parent, name)
    if node.index is None:
        entry.read_count(found.nlink)
        state.keep_index(node, entry)
        state.let_go(node)
    elif node.index.layer_links is None:
        node.index.read_count(found.nlink)
        state.keep_index(node, node.index)
    return Seen(node, copy, in_upper=False)


def _copied_in_top_layer(
    state: State, parent: DirectoryNode, name: bytes, sighting: LowerSighting
) -> Seen | None:
    """As `_copied_by_another_name`, where the upper is the topmost layer."""
    backing, copies = parent.lowers[sighting.at], state.copies
    if copies is None or copies.is_empty or backing.position == 0:
        return None
    entry = copies.find(backing.directory.file(name).origin().to_bytes())
    if entry is None:
        return None
    copy = entry.attributes()
    known = _known(state, parent, name, copy)
    if known is not None:
        return Seen(known, copy, in_upper=False)
    below = None
    if state.follows_metacopies and stat.S_ISREG(copy.mode):
        below = _data_below(state, parent, entry, name, 0)
    return Seen(
        FileNode(copy.ino, copy.mode, parent, name, lower=entry, below=below), copy, in_upper=False
    )


def _lower_node(
    state: State, parent: DirectoryNode, name: bytes, sighting: LowerSighting, own: int = 0
) -> Node:
    """Return the node of what a layer shows; `own` is the inode's number in an upper of before."""
    found = sighting.attributes
    backing = parent.lowers[sighting.at]
    node = state.table.find(found.ino)
    if node is not None and not _lies_there(node, parent, name, found, own):
        found = found._replace(ino=state.table.substitute((parent.ino, name)))
    elif node is None and state.table.is_taken(found.ino):
        found = found._replace(ino=state.table.substitute_taken(found.ino))
    known = _known(state, parent, name, found)
    if known is not None:
        return known
    if not stat.S_ISDIR(found.mode):
        file = backing.directory.file(name)
        below = None
        if state.follows_metacopies and stat.S_ISREG(found.mode):
            below = _data_below(state, parent, file, name, backing.position)
        return FileNode(found.ino, found.mode, parent, name, lower=file, below=below, own=own)
    directory = backing.directory.directory(name, found.ino)
    top = backing.position
    merged: tuple[Backing, ...] = ()
    if top < state.bottom:
        merged = directories_below(state, parent, name, top, directory.marks())
    return DirectoryNode(found.ino, parent, name, None, (Backing(top, directory), *merged))


def _look_in_kept(
    state: State, parent: DirectoryNode, name: bytes, sighting: LowerSighting
) -> Seen:
    """Return what shows from an upper of before, by the number that it had there."""
    found, backing = sighting.attributes, parent.lowers[sighting.at]
    own = found.ino
    if stat.S_ISDIR(found.mode):
        return _kept_directory(state, parent, name, backing, found)
    number = number_in_kept(state, backing.directory, name, own)
    sighting = sighting._replace(attributes=found._replace(ino=number))
    if found.nlink > 1:
        copied = _copied_by_another_name(state, parent, name, sighting)
        if copied is not None:
            return copied
    node = _lower_node(state, parent, name, sighting, own=own)
    return Seen(node, sighting.attributes, in_upper=False)


def _kept_directory(
    state: State, parent: DirectoryNode, name: bytes, backing: Backing, found: Attributes
) -> Seen:
    top = backing.position
    directory = backing.directory.directory(name, found.ino)
    merged = directories_below(state, parent, name, top, directory.marks())
    lowers = (Backing(top, directory, found.ino), *merged)
    number = number_of_merged(state, lowers)
    node = state.table.find(number)
    if node is not None and not _lies_there(node, parent, name, found):
        number = state.table.substitute((parent.ino, name))
    elif node is None and state.table.is_taken(number):
        number = state.table.substitute_taken(number)
    found = found._replace(ino=number)
    known = _known(state, parent, name, found)
    return Seen(known or DirectoryNode(number, parent, name, None, lowers), found, in_upper=False)


def _lies_there(
    node: Node, parent: DirectoryNode, name: bytes, found: Attributes, own: int = 0
) -> bool:
    """Whether a known node is what a layer shows under a name, and not just of that number.

    Redirects may lead to one directory twice, and a copy may say it is of what it is not.
    """
    if node.type != stat.S_IFMT(found.mode):
        return False
    if isinstance(node, FileNode):
        return node.lower is not None and node.own == own
    return node.parent is parent and node.name == name


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
