"""What differs between two packs."""

from __future__ import annotations

import stat
from enum import Enum
from heapq import merge
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.packs.format import Flag, join_ns
from overlayfs_py.packs.items import target, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.items import Item
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.reader import PackReader
    from overlayfs_py.packs.values import Path

_STEP = 1 << 20  # bytes that are compared at a time
_DEVICES = (stat.S_IFCHR, stat.S_IFBLK)


class Kind(Enum):
    """What became of a path; the letters are docker's."""

    ADDED = "A"
    CHANGED = "C"
    DELETED = "D"


class Difference(NamedTuple):
    """A path that differs, and for a changed one in what."""

    kind: Kind
    path: Path
    parts: tuple[str, ...] = ()
    before: Item | None = None
    after: Item | None = None


def differences(before: Pack, after: Pack) -> Iterator[Difference]:
    """Yield every path that differs, in the order of a walk; whiteouts are paths like others."""
    old, new = walk(before), walk(after)
    one, two = next(old, None), next(new, None)
    while one is not None or two is not None:
        if two is None or (one is not None and _place(one) < _place(two)):
            assert one is not None
            yield Difference(Kind.DELETED, one.path, before=one)
            one = next(old, None)
        elif one is None or _place(two) < _place(one):
            yield Difference(Kind.ADDED, two.path, after=two)
            two = next(new, None)
        else:
            parts = tuple(_differing(before, one, after, two))
            if parts:
                yield Difference(Kind.CHANGED, one.path, parts, one, two)
            one, two = next(old, None), next(new, None)


def _place(item: Item) -> tuple[Path, bool]:
    return item.path, item.inode is None


def _differing(before: Pack, one: Item, after: Pack, two: Item) -> Iterator[str]:
    old, new = one.inode, two.inode
    if old is None or new is None:
        return
    if one.type != two.type:
        yield "type"
        return
    yield from _differing_attributes(old, new)
    if one.type == stat.S_IFLNK and target(before, old) != target(after, new):
        yield "target"
    if one.type in _DEVICES and old.first != new.first:
        yield "device"
    if one.type == stat.S_IFREG:
        if old.size != new.size:
            yield "size"
        elif _data_differs(before.reader(old), after.reader(new)):
            yield "content"
    if before.index.xattrs(old) != after.index.xattrs(new):
        yield "xattrs"


def _data_differs(one: PackReader, two: PackReader) -> bool:
    """Whether two files of one size hold different data."""
    places = steps_of_data(one.data_ranges(), two.data_ranges())
    return any(one.read(*place) != two.read(*place) for place in places)


def steps_of_data(
    one: Iterable[tuple[int, int]], two: Iterable[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """Yield offsets and sizes to compare two files by, of which the ranges are that hold data.

    What is a hole in both is left out, and may be terabytes: /var/log/lastlog of a large user id.
    """
    done = 0
    for start, end in merge(one, two):
        for here in range(max(start, done), end, _STEP):
            yield here, min(_STEP, end - here)
        done = max(done, end)


def _differing_attributes(old: Inode, new: Inode) -> Iterator[str]:
    if old.mode != new.mode:
        yield "mode"
    if old.uid != new.uid:
        yield "uid"
    if old.gid != new.gid:
        yield "gid"
    if join_ns(old.mtime_s, old.mtime_ns) != join_ns(new.mtime_s, new.mtime_ns):
        yield "mtime_ns"
    if (old.flags ^ new.flags) & Flag.OPAQUE:
        yield "opaque"
    if not stat.S_ISDIR(old.mode) and old.nlink != new.nlink:
        yield "links"
