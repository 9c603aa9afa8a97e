"""A layer in memory that holds nothing but the directories that lead to given paths."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.layers.values import (
    INO_BITS,
    NO_MARKS,
    Absence,
    Attributes,
    Entry,
    Finding,
    Marks,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from overlayfs_py.layers.ids import IdMap
    from overlayfs_py.layers.interface import LayerFile
    from overlayfs_py.layers.origin import OriginHandle


class SkeletonDirectory:
    """One directory, root's and open to all to read, and those below it."""

    def __init__(self, slot: int, paths: Iterable[tuple[bytes, ...]] = (), number: int = 1) -> None:
        """Make the root of a layer, numbered in `slot`, that holds every path in `paths`."""
        self._children: dict[bytes, SkeletonDirectory] = {}
        self._ino = slot << INO_BITS | number
        self._created_ns = time.time_ns()
        made = number
        for path in paths:
            here = self
            for name in path:
                if name not in here._children:
                    made += 1
                    here._children[name] = SkeletonDirectory(slot, number=made)
                here = here._children[name]

    def attributes(self) -> Attributes:
        now = self._created_ns
        links = 2 + len(self._children)
        mode = stat.S_IFDIR | 0o755
        return Attributes(self._ino, mode, links, 0, 0, 0, 0, 0, 4096, now, now, now)

    def owner_behind(self, ids: IdMap) -> None:
        pass  # it lies nowhere

    def origin(self) -> OriginHandle:
        _refuse(errno.EOPNOTSUPP, b"")  # nothing of it is copied up: there is no upper

    def length(self) -> int:
        return 0

    def entries(self, *, apart: bool = False) -> Iterator[Entry]:
        return (Entry(name, stat.S_IFDIR) for name in self._children)

    def find(self, name: bytes) -> Finding:
        child = self._children.get(name)
        return Absence.MISSING if child is None else child.attributes()

    def find_many(
        self, names: Sequence[bytes], *, whole_only: bool = False
    ) -> Sequence[Attributes | None]:
        return [None] * len(names)

    def deletes(self, name: bytes) -> bool:
        return False

    def marks(self, *, with_opaque_file: bool = True) -> Marks:
        return NO_MARKS

    def directory(self, name: bytes, ino: int = 0) -> SkeletonDirectory:
        return self._children[name]

    def file(self, name: bytes, ino: int = 0) -> LayerFile:
        _refuse(errno.ENOENT, name)

    def read_link(self) -> bytes:
        _refuse(errno.EINVAL, b"")

    def list_xattrs(self) -> list[bytes]:
        return []

    def lacks_xattr(self, name: bytes) -> bool:
        return True

    def get_xattr(self, name: bytes) -> bytes:
        _refuse(errno.ENODATA, name)


def _refuse(number: int, name: bytes) -> NoReturn:
    raise OSError(number, os.strerror(number), name)
