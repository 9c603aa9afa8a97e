"""The tree of a pack that is being written: inodes as packed records, names by directory.

A million entries take about 250 MB: a record of 64 bytes each, a name and its place in a dict.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.layers.marks import is_reserved
from overlayfs_py.packs.errors import BadEntry
from overlayfs_py.packs.format import (
    DIRENT,
    INODE,
    LARGEST_FILE,
    LINK,
    LONGEST_NAME,
    NO_DIRENT,
    NO_INODE,
    ROOT,
    Flag,
    name_hash,
    split_ns,
)
from overlayfs_py.packs.values import Counts, InodeNumber, Metadata

if TYPE_CHECKING:
    from overlayfs_py.packs.values import Path

_PARENT = Metadata(mode=0o755)  # of a directory that nobody has described
_MOST_NUMBER = NO_INODE - 1
_MOST_U64 = (1 << 64) - 1

_FLAGS = struct.Struct("<H"), 2  # fields of an inode, and where they are
_NLINK = struct.Struct("<I"), 12
_SIZE = struct.Struct("<Q"), 16
_FIRST_COUNT = struct.Struct("<QI"), 48

_Field = tuple[struct.Struct, int]


class Tables(NamedTuple):
    """The finished tables that depend on names."""

    inodes: bytearray
    dirents: bytearray
    names: bytearray
    links: bytearray
    counts: Counts


class Tree:
    """Inodes, and the names that lead to them."""

    def __init__(self) -> None:
        self._inodes = bytearray()
        self._children: dict[int, dict[bytes, int]] = {}  # by directory; orphans have none
        self._whiteouts: dict[int, set[bytes]] = {}
        self._last: tuple[Path, int] = ((), ROOT)  # the directory that was asked for last
        self.replaced = 0  # how often a name went from one object to another
        self.add_inode(stat.S_IFDIR, _PARENT)
        self._set(ROOT, _NLINK, 2)
        self._children[ROOT] = {}

    def __len__(self) -> int:
        return len(self._inodes) // INODE.size

    # Inodes.

    def add_inode(
        self,
        kind: int,
        meta: Metadata,
        *,
        size: int = 0,
        first: int = 0,
        count: int = 0,
        flags: int = 0,
        xattrs: int = 0,
    ) -> InodeNumber:
        """Append an object of type `kind` that has no name yet."""
        number = len(self)
        if number > _MOST_NUMBER:
            raise OverflowError("a pack holds at most 2**32 - 1 objects")
        self._inodes += self._record(kind, meta, flags, size, first, count, xattrs)
        return InodeNumber(number)

    def describe(self, number: int, meta: Metadata, xattrs: int) -> None:
        """Replace a directory's metadata; its mark as opaque stays."""
        flags, links = self._get(number, _FLAGS), self._get(number, _NLINK)
        record = self._record(stat.S_IFDIR, meta, flags, 0, 0, 0, xattrs)
        self._inodes[number * INODE.size : (number + 1) * INODE.size] = record
        self._set(number, _NLINK, links)

    def mark_opaque(self, number: int) -> None:
        """Let a directory hide the layers below it."""
        self._set(number, _FLAGS, self._get(number, _FLAGS) | Flag.OPAQUE)

    @staticmethod
    def _record(
        kind: int, meta: Metadata, flags: int, size: int, first: int, count: int, xattrs: int
    ) -> bytes:
        if size > LARGEST_FILE:
            raise BadEntry("a file is larger than a file can be")
        mtime = split_ns(meta.mtime_ns)
        atime = mtime if meta.atime_ns is None else split_ns(meta.atime_ns)
        try:
            return INODE.pack(
                *(kind | meta.permissions, flags, meta.uid, meta.gid, 0, size),
                *(mtime[0], atime[0], mtime[1], atime[1], first, count, xattrs),
            )
        except struct.error as error:
            raise BadEntry(f"owner, size or time is out of range ({meta}): {error}") from None

    def _get(self, number: int, field: _Field) -> int:
        packing, place = field
        value: int = packing.unpack_from(self._inodes, number * INODE.size + place)[0]
        return value

    def _set(self, number: int, field: _Field, *values: int) -> None:
        packing, place = field
        packing.pack_into(self._inodes, number * INODE.size + place, *values)

    def _is_directory(self, number: int) -> bool:
        return stat.S_ISDIR(self.mode_of(number))

    def mode_of(self, number: int) -> int:
        """Return an object's type and permissions."""
        return self._inodes[number * INODE.size] | self._inodes[number * INODE.size + 1] << 8

    # Names.

    def directory(self, path: Path) -> InodeNumber:
        """Return the directory at `path`, made with its parents where something else is."""
        known, number = self._last
        if known == path:
            return InodeNumber(number)
        here = int(ROOT)
        for name in path:
            below = self._children[here].get(name)
            if below is None or not self._is_directory(below):
                require_name(name)
                below = int(self.add_inode(stat.S_IFDIR, _PARENT))
                self.put(here, name, below)
                self._children[below] = {}
            here = below
        self._last = (path, here)
        return InodeNumber(here)

    def find(self, path: Path) -> InodeNumber | None:
        """Return what is at `path`."""
        here = int(ROOT)
        for name in path:
            children = self._children.get(here)
            below = None if children is None else children.get(name)
            if below is None:
                return None
            here = below
        return InodeNumber(here)

    def put(self, directory: int, name: bytes, number: int) -> None:
        """Give an object a name; what had it loses it, with all below."""
        children = self._children[directory]
        before = children.get(name)
        if before == number:
            return
        if before is not None:
            self.replaced += 1
            self._unlink(before)
        children[name] = number
        self._set(number, _NLINK, self._get(number, _NLINK) + 1)

    def add_whiteout(self, directory: int, name: bytes) -> None:
        """Delete a name from the layers below, whatever this layer shows under it."""
        self._whiteouts.setdefault(directory, set()).add(name)

    def _unlink(self, number: int) -> None:
        pending = [number]
        while pending:
            victim = pending.pop()
            self._set(victim, _NLINK, self._get(victim, _NLINK) - 1)
            children = self._children.pop(victim, None)
            if children is not None:
                self._last = ((), ROOT)
                self._whiteouts.pop(victim, None)
                pending += children.values()

    # The end.

    def finish(self, names: bytearray) -> Tables:
        """Return the tables; names are appended to `names`. The tree cannot be used any more."""
        dirents = bytearray()
        links: list[tuple[int, int, int]] = []
        for directory in sorted(self._children):
            first = len(dirents) // DIRENT.size
            subdirectories = 0
            for name, number in self._sorted(directory):
                at = len(dirents) // DIRENT.size
                kind = 0 if number == NO_INODE else self.mode_of(number) >> 12
                dirents += DIRENT.pack(name_hash(name), len(names), number, len(name), kind)
                names += name
                if kind == stat.S_IFDIR >> 12:
                    subdirectories += 1
                    self._set(number, _SIZE, directory | at << 32)
                elif kind and self._get(number, _NLINK) > 1:
                    links.append((number, directory, at))
            count = len(dirents) // DIRENT.size - first
            self._set(directory, _FIRST_COUNT, first, count)
            self._set(directory, _NLINK, 2 + subdirectories)
        self._set(ROOT, _SIZE, ROOT | NO_DIRENT << 32)
        packed = bytearray().join(LINK.pack(*link) for link in sorted(links))
        return Tables(self._inodes, dirents, names, packed, self._count(dirents))

    def _sorted(self, directory: int) -> list[tuple[bytes, int]]:
        """A directory's names as they are searched: by hash, then name, whiteouts last.

        A whiteout of something else than a directory says nothing more: such a name merges with
        nothing below.
        """
        children = self._children[directory]
        listed = list(children.items())
        for name in self._whiteouts.get(directory, ()):
            shown = children.get(name)
            if shown is None or self._is_directory(shown):
                listed.append((name, NO_INODE))
        listed.sort(key=lambda item: (name_hash(item[0]), item[0], item[1] == NO_INODE))
        return listed

    def _count(self, dirents: bytearray) -> Counts:
        whiteouts = sum(1 for item in DIRENT.iter_unpack(dirents) if item[2] == NO_INODE)
        kinds: dict[int, int] = {}
        replaced = 0
        for fields in INODE.iter_unpack(self._inodes):
            if fields[4] == 0:
                replaced += 1
            else:
                kinds[fields[0] >> 12] = kinds.get(fields[0] >> 12, 0) + 1
        directories = kinds.pop(stat.S_IFDIR >> 12, 0)
        files = kinds.pop(stat.S_IFREG >> 12, 0)
        symlinks = kinds.pop(stat.S_IFLNK >> 12, 0)
        names = len(dirents) // DIRENT.size - whiteouts
        others = sum(kinds.values())
        return Counts(names, directories, files, symlinks, others, whiteouts, replaced)


def require_path(path: Path) -> None:
    """Refuse a path that a mount could not show.

    Raises:
        BadEntry: a component is empty, `.`, `..`, has a slash or a NUL, is too long, or means a
            deletion.
    """
    for name in path:
        require_name(name)


def require_name(name: bytes) -> None:
    """Refuse one component; see `require_path`."""
    if name in (b"", b".", b"..") or b"/" in name or b"\0" in name:
        raise BadEntry(f"{name!r}: this cannot be a name")
    if len(name) > LONGEST_NAME:
        raise BadEntry(f"{name!r}: {os.strerror(errno.ENAMETOOLONG)}", errno.ENAMETOOLONG)
    if is_reserved(name):
        raise BadEntry(f"{name!r}: names that begin with .wh. mean deletions", errno.EPERM)
