"""All objects of a pack by their paths."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.packs.format import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.values import Path


class Found(NamedTuple):
    """One name of a pack."""

    path: Path
    number: int
    inode: Inode | None  # None: the name is a whiteout


def walk(pack: Pack) -> Iterator[Found]:
    """Yield the root and every name below it, a directory before what is in it.

    The names of one directory come together and sorted. Raises CorruptLayer where a walk cannot
    go on.
    """
    index = pack.index
    yield Found((), ROOT, index.inode(ROOT))
    pending: list[tuple[int, Path]] = [(ROOT, ())]
    while pending:
        number, path = pending.pop()
        directory = index.directory(number)
        listed = [
            (name, at, child, kind)
            for at, (child, kind, name) in enumerate(index.names(directory), directory.first)
        ]
        below = []
        for name, at, child, kind in sorted(listed):
            here = (*path, name)
            if kind == 0:
                yield Found(here, child, None)
                continue
            inode = index.child(number, at, child, kind)
            yield Found(here, child, inode)
            if stat.S_ISDIR(inode.mode):
                below.append((child, here))
        pending += reversed(below)
