"""What is in a pack, by path: the pack alone, without the layers below it."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py import link_walk
from overlayfs_py.packs.format import NO_INODE, ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.values import Path

_STEP = 1 << 20


class Item(NamedTuple):
    """One name in a pack."""

    path: Path
    number: int
    inode: Inode | None  # None: a whiteout

    @property
    def type(self) -> int:
        """Its S_IF* type, 0 of a whiteout."""
        return 0 if self.inode is None else stat.S_IFMT(self.inode.mode)


def walk(pack: Pack, start: Path = ()) -> Iterator[Item]:
    """Yield what is at `start` and all below it: sorted, directories before what is in them.

    Raises:
        FileNotFoundError: there is nothing at `start`.
        CorruptLayer: the pack is damaged.
    """
    pending = [find(pack, start)]
    while pending:
        item = pending.pop()
        yield item
        if item.type == stat.S_IFDIR:
            pending += reversed(_children(pack, item))


def _children(pack: Pack, directory: Item) -> list[Item]:
    index = pack.index
    inode = index.directory(directory.number)
    found = []
    for at, (name, number, kind) in enumerate(index.names(inode), inode.first):
        path = (*directory.path, name)
        if number == NO_INODE:
            found.append(Item(path, number, None))
        else:
            found.append(Item(path, number, index.child(directory.number, at, number, kind)))
    # A directory, and the whiteout that hides what is below it, have the same name.
    found.sort(key=lambda item: (item.path[-1], item.inode is None))
    return found


def find(pack: Pack, path: Path, *, follow: bool = False) -> Item:
    """Return what is at `path`, symbolic links on the way followed inside of the pack.

    Raises:
        FileNotFoundError, NotADirectoryError: nothing is there.
        OSError: ELOOP.
        CorruptLayer: the pack is damaged.
    """
    root = Item((), ROOT, pack.index.directory(ROOT))
    return link_walk.follow(
        root,
        path,
        lambda parent, name: _child(pack, parent, name, path),
        lambda item: _link_target(pack, item),
        follow_last=follow,
    )[-1]


def _link_target(pack: Pack, item: Item) -> bytes | None:
    if item.inode is None or item.type != stat.S_IFLNK:
        return None
    return target(pack, item.inode)


def _child(pack: Pack, parent: Item, name: bytes, asked: Path) -> Item:
    if parent.type != stat.S_IFDIR:
        raise _failure(errno.ENOTDIR, asked)
    index = pack.index
    at = index.find(index.directory(parent.number), name)
    number, kind = (NO_INODE, 0) if at < 0 else index.dirent(at)
    if at < 0:
        raise _failure(errno.ENOENT, asked)
    inode = None if number == NO_INODE else index.child(parent.number, at, number, kind)
    return Item((*parent.path, name), number, inode)


def content(pack: Pack, inode: Inode) -> Iterator[bytes]:
    """Yield a regular file's data, holes as zeros."""
    reader = pack.reader(inode)
    for start in range(0, inode.size, _STEP):
        yield reader.read(start, min(_STEP, inode.size - start))


def target(pack: Pack, inode: Inode) -> bytes:
    """Return a symbolic link's target."""
    return pack.index.text(inode.first, inode.size)


def _failure(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), b"/" + b"/".join(path))
