"""What an object of the upper is a copy of, by which it keeps its inode number over mounts.

A copy tells it in an xattr, `overlay.origin`, and the directory that it is in says by another,
`overlay.impure`, that it is worth asking. Both are kernel overlayfs's (fs/overlayfs/copy_up.c,
ovl_set_origin and ovl_set_impure). A directory that merges needs to tell nothing: its number is
that of the topmost layer's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostFile
from overlayfs_py.layers.origin import parse_origin
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import xattrs
from overlayfs_py.union.nodes import FileNode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.layers.interface import LayerDirectory, LayerFile
    from overlayfs_py.layers.origin import OriginHandle
    from overlayfs_py.union.index import IndexEntry
    from overlayfs_py.union.nodes import Backing, DirectoryNode, Node
    from overlayfs_py.union.state import State


class Copied(NamedTuple):
    """What a copy says of itself."""

    number: int | None  # the mount's, of what it is a copy of; None where no layer knows it
    entry: IndexEntry | None  # its name in the index, if it has one


def read_origin(state: State, parent: DirectoryNode, name: bytes, own: int) -> Copied | None:
    """Return what an object of the upper, whose own number is `own`, is a copy of."""
    upper = state.require_upper()
    directory, key = parent.require_upper(), upper.prefix + b"origin"
    value = xattrs.short_value(directory.fd(), name, key)
    if value is None:
        value = find_xattr(HostFile(directory, name), key)
    if not value:
        return None
    entry = upper.index.find(value)
    if entry is not None and entry.tree.ino_of(entry.status()) != own:
        entry = None
    handle = parse_origin(value)
    if handle is None:
        return Copied(None, entry)
    if entry is not None:
        links = (layer.links_behind(handle) for layer in state.all_layers)
        entry.read_count(_first(links))
    number = _number_behind(state, handle)
    return Copied(None if number is None else state.table.origins.get(number, number), entry)


def _number_behind(state: State, handle: OriginHandle) -> int | None:
    return _first(layer.number_behind(handle) for layer in state.all_layers)


def number_in_kept(state: State, directory: LayerDirectory, name: bytes, own: int) -> int:
    """Return the number of a file that was in an upper, and is in a layer now.

    That is the number of what it is a copy of, as before; `own` is its inode's.
    """
    known = state.table.origins.get(own)
    if known is not None:
        return known
    value = told_origin(directory.file(name), state)
    handle = parse_origin(value) if value else None
    number = None if handle is None else _number_behind(state, handle)
    if number is None:
        return own
    number = state.table.origins[own] = state.table.origins.get(number, number)
    return number


def told_origin(file: LayerFile, state: State) -> bytes | None:
    """What a file that was in an upper says it is a copy of, as it lies on disk."""
    return find_xattr(file, state.require_upper().prefix + b"origin")


def number_of_merged(state: State, lowers: Sequence[Backing]) -> int:
    """Return the number of a directory that merges: that of the topmost layer of the image's.

    Of one that lies in uppers of before alone, that of the lowest.
    """
    known = state.table.origins.get(lowers[0].ino)
    if known is not None and state.kept.holds(lowers[0].position):
        return known
    of_image = (backing.ino for backing in lowers if not state.kept.holds(backing.position))
    return next(of_image, lowers[-1].ino)


def _first(found: Iterable[int | None]) -> int | None:
    return next((one for one in found if one is not None), None)


def number_of_copy(state: State, own: int, wanted: int | None) -> int:
    """Return the number for an object of the upper that asks for `wanted`.

    Nobody checks what an upper says, so a number that another object goes by is not given twice:
    then it has its own.
    """
    if wanted is None or not is_free(state, wanted, own):
        wanted = own if is_free(state, own, own) else state.table.substitute(own)
    if wanted != own:
        state.table.origins[own] = wanted
    return wanted


def is_free(state: State, number: int, own: int) -> bool:
    """Whether nothing else goes by a number than the object of the upper whose own is `own`."""
    node = state.table.find(number)
    if node is None:
        return not state.table.is_taken(number)
    return is_known_as(node, own)


def is_known_as(node: Node, own: int) -> bool:
    """Whether a node is of the object of the upper whose own number is `own`."""
    return isinstance(node, FileNode) and node.own == own


def mark_impure(state: State, parent: DirectoryNode) -> None:
    """Let a directory of the upper say that a copy is in it, before it is."""
    if not parent.impure and not parent.require_upper().tree.plain:
        state.require_upper().set_impure(parent.require_upper())
        parent.impure = True


def mark_for_copy(state: State, node: Node, parent: DirectoryNode) -> None:
    """Do the same where `node`, which may be none, gets a name."""
    is_copy = node.is_copy if isinstance(node, FileNode) else bool(getattr(node, "lowers", ()))
    if is_copy:
        mark_impure(state, parent)
