"""A tree of files that a build takes from: a directory, an archive, a stage, an image.

Nothing in it leads out of it. What it gives is read where it lies: no context is copied first.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from overlayfs_py.packs.values import DataOrHole

Path = tuple[bytes, ...]  # components below a context's root, which is ()


class Item(NamedTuple):
    """One object of a context."""

    path: Path
    mode: int  # type and permission bits
    uid: int  # as an image shall have it
    gid: int
    size: int  # bytes of a regular file
    mtime_ns: int
    rdev: int
    links: int  # names of its inode, in the context or elsewhere
    inode: Hashable  # the same of all its names
    handle: object = None  # the context's own

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_symlink(self) -> bool:
        return stat.S_ISLNK(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class Context(Protocol):
    """A tree of files. Open as long as it is used; not for several threads at once.

    An object that is asked for must be what it was when it was seen: `ChangedMeanwhile` is raised
    where it is not.
    """

    @property
    def name(self) -> str:
        """What messages call it."""

    @property
    def stats_name(self) -> str:
        """Which stat cache is its own: no path, and the same in the next build. Empty: none."""

    @property
    def root(self) -> Item:
        """Return its root directory."""

    def children(self, directory: Item) -> list[Item]:
        """Return what is in a directory, by name."""

    def look(self, directory: Item, name: bytes) -> Item | None:
        """Return what a name of a directory shows, None if nothing."""

    def read_link(self, item: Item) -> bytes:
        """Return a symbolic link's target."""

    def xattrs(self, item: Item) -> Mapping[bytes, bytes]:
        """Return the xattrs that go into an image, by the names that a process sees."""

    def data(self, item: Item) -> Iterator[DataOrHole]:
        """Yield a regular file's data: exactly `item.size` bytes with its holes."""

    def stamp(self, item: Item) -> tuple[int, ...]:
        """Return numbers that differ once data or xattrs of a regular file differ."""

    def is_at_rest(self, item: Item, since_ns: int) -> bool:
        """Whether a change after `since_ns`, a time of the clock, is sure to change the stamp."""

    def close(self) -> None:
        """Close what it holds."""


def shown(path: Path) -> str:
    """A path of a context as messages name it."""
    return os.fsdecode(b"/".join(path)) or "."
