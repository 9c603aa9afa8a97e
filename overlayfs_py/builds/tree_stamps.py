"""Which objects of a tree have changed since it was looked at, by their inodes and ctimes.

Whatever is done to an object (its data, also through a mapping, its mode, owner, xattrs, names)
moves its ctime, which no call sets back. That is so as far as the filesystem keeps to it, also for
mappings, and once its clock has ticked; so both are tried before.
"""

from __future__ import annotations

import mmap
import os
import stat
import tempfile
import time
from collections import defaultdict
from typing import TYPE_CHECKING

from overlayfs_py.containers.tree import Tree
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.containers.image_files import Path

    # Of each directory the names in it, each with its inode's number and ctime.
    Stamps = Mapping[Path, Mapping[bytes, tuple[int, int]]]

_TICK_S = 0.001
_PATIENCE_S = 3.0  # a filesystem whose clock ticks once a second is waited for


class Touched(NamedTuple):
    """The names in each directory that something has been done to."""

    names: Mapping[Path, set[bytes]]  # changed, new or gone
    ways: Mapping[Path, set[bytes]]  # the same, and those that lead there

    def has(self, path: Path) -> bool:
        """Whether something was done to the object at a path, and not just below it."""
        return not path or path[-1] in self.names.get(path[:-1], ())


def read(root: bytes) -> Stamps:
    """Look at all that is below a directory; no link is followed."""
    found: dict[Path, dict[bytes, tuple[int, int]]] = {}
    root_fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with Tree(root_fd) as tree:
            pending: list[Path] = [()]
            while pending:
                path = pending.pop()
                found[path], below = _names(tree.fd(path))
                pending += ((*path, name) for name in below)
    finally:
        os.close(root_fd)
    return found


def _names(fd: int) -> tuple[dict[bytes, tuple[int, int]], list[bytes]]:
    names, directories = {}, []
    with os.scandir(fd) as listing:
        for entry in listing:
            status = entry.stat(follow_symlinks=False)
            name = os.fsencode(entry.name)
            names[name] = status.st_ino, status.st_ctime_ns
            if stat.S_ISDIR(status.st_mode):
                directories.append(name)
    return names, directories


def touched(before: Stamps, after: Stamps) -> Touched:
    """Return what has been touched between two looks."""
    names: dict[Path, set[bytes]] = {}
    for path, new in after.items():
        old = before.get(path, {})
        if new != old:
            names[path] = {n for n in new.keys() | old.keys() if new.get(n) != old.get(n)}
    ways = defaultdict(set, {path: set(found) for path, found in names.items()})
    for path in names:
        for end in range(len(path)):
            ways[path[:end]].add(path[end])
    return Touched(names, dict(ways))


def settle(directory: bytes, stamps: Stamps) -> bool:
    """Wait until what is done from now on shows in ctimes; whether it will.

    `directory` is of the same filesystem, and beside the tree.
    """
    latest_ns = max((ctime for names in stamps.values() for _, ctime in names.values()), default=0)
    with (
        tempfile.TemporaryFile(dir=directory) as file,
        tempfile.TemporaryFile(dir=directory) as clock,
    ):
        file.write(bytes(mmap.PAGESIZE))  # no hole: a tree's pages are there
        file.flush()
        before_ns = os.fstat(file.fileno()).st_ctime_ns
        if not _has_ticked(clock.fileno(), max(latest_ns, before_ns)):
            return False
        with mmap.mmap(file.fileno(), mmap.PAGESIZE) as mapped:
            mapped[0] = 1
        return os.fstat(file.fileno()).st_ctime_ns > before_ns


def _has_ticked(fd: int, since_ns: int) -> bool:
    """Touch a file until that shows as later than a time."""
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        os.utime(fd)
        if os.fstat(fd).st_ctime_ns > since_ns:
            return True
        time.sleep(_TICK_S)
    return False
