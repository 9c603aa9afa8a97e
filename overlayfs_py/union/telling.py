"""What many names of a directory show, at once: for listings that tell attributes as well.

Plan: nearly every name that is listed is a layer's file with one name, or a directory of the lowest
layer, of which nothing in the upper knows. So the layers are asked for all names of a page in one
loop each (`find_many`), and such a file gets no node before it is used (`NodeTable.tell`): 21
Python calls a name, with all that its directory costs, in place of 59. Whatever else a name may be
`lookup.look` tells, as ever; what is answered here is what it would answer.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.marks import WHITEOUT_PREFIX
from overlayfs_py.union.lowers import LowerIndex, index_of
from overlayfs_py.union.nodes import Backing, DirectoryNode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.union.state import State

_TYPE_MASK = 0o170000
_DIRECTORY = stat.S_IFDIR
# By themselves: each file would keep a number of its own.
_TYPES = {kind: kind for kind in (stat.S_IFREG, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK)}


def tell(
    state: State, parent: DirectoryNode, names: Sequence[bytes], *, hold: bool
) -> Iterator[Attributes | None]:
    """Yield what each name shows; with `hold` it is referred to once more from then on.

    None where `look` has to be asked: then nothing is counted. All that layers tell is asked for
    before the first is yielded, so whatever is done with one in between opens and closes nothing
    that is needed here.
    """
    if not _is_plain(state, parent):
        yield from [None] * len(names)
        return
    shown = _shown_by_layers(state, parent, names)
    table, bottom = state.table, state.bottom
    removed, longest = state.removed_links, state.name_max
    for name, found in zip(names, shown, strict=True):
        if found is None:
            yield None
            continue
        attributes, layer = found
        ino, kind = attributes.ino, attributes.mode & _TYPE_MASK
        if len(name) > longest or name.startswith(WHITEOUT_PREFIX) or ino in removed:
            yield None
        elif kind == _DIRECTORY:
            # What lies in the lowest layer merges with nothing.
            if layer.position < bottom or table.knows(ino):
                yield None
                continue
            if hold:
                directory = layer.directory.directory(name, ino)
                lowers = (Backing(bottom, directory),)
                table.hold(DirectoryNode(ino, parent, name, None, lowers))
            yield attributes._replace(nlink=1) if state.spec.static_nlink else attributes
        elif attributes.nlink != 1:
            yield None
        elif hold:
            kind = _TYPES.get(kind, kind)
            yield attributes if table.tell(ino, parent, name, kind, layer.directory) else None
        else:
            yield None if table.knows(ino) else attributes


def _is_plain(state: State, parent: DirectoryNode) -> bool:
    """Whether names of a directory may be what its layers say and no more."""
    ids = state.spec.ids
    return (
        parent.cacheable
        and not parent.removed
        and bool(parent.lowers)
        and ids.squash_uid is None
        and ids.squash_gid is None
        and not state.kept.holds(parent.lowers[0].position)
        and state.table.takes_told(parent)
    )


def _shown_by_layers(
    state: State, parent: DirectoryNode, names: Sequence[bytes]
) -> list[tuple[Attributes, Backing] | None]:
    """What the layers show under each name that nothing above them has."""
    shown: list[tuple[Attributes, Backing] | None] = [None] * len(names)
    above = _names_above(parent)
    if above is None:
        return shown
    whole_only = state.follows_metacopies
    for at, places in _by_layer(parent, names, above).items():
        layer = parent.lowers[at]
        wanted = names if len(places) == len(names) else [names[place] for place in places]
        try:
            told = layer.directory.find_many(wanted, whole_only=whole_only)
        except OSError:
            continue  # `look` says so of each name
        for place, found in zip(places, told, strict=True):
            if found is not None:
                shown[place] = found, layer
    return shown


def _by_layer(
    parent: DirectoryNode, names: Sequence[bytes], above: set[bytes]
) -> dict[int, Sequence[int]]:
    """The places in `names` of those that each layer shows, by its place in `lowers`."""
    if len(parent.lowers) == 1:
        places = range(len(names))
        return {0: [at for at in places if names[at] not in above] if above else places}
    index = index_of(parent)
    if not isinstance(index, LowerIndex):
        return {}
    found: dict[int, list[int]] = {}
    for place, name in enumerate(names):
        at = index.find(name)
        if at is not None and name not in above:
            found.setdefault(at, []).append(place)
    return dict(found)


def _names_above(parent: DirectoryNode) -> set[bytes] | None:
    """The names that the upper or a volume has something for; None where they are many."""
    above = set(parent.attached)
    if parent.upper is None:
        return above
    if parent.upper.length():
        return None
    try:
        listed = os.listdir(parent.upper.fd())
    except OSError:  # its owner may not list it, or it is gone: `look` says
        return None
    for name in map(os.fsencode, listed):
        above.add(name.removeprefix(WHITEOUT_PREFIX))
        above.add(name)
    return above
