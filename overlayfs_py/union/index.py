"""Copies of layers' files that have several names, by what they are copies of: `work/index`.

Plan: the first change of such a file makes one copy, here, under the origin that it has in its
layer, and links it to the name in question. The other names go on showing the layer's file, and
looking one up finds the copy by that origin, without writing anything. So what a change costs does
not depend on how many names there are, and they stay one file at the next mount, ours or kernel
overlayfs's with `index=on`, whose format this is.

How many names the file shows is not what the copy's inode counts: that has a link here, and none
for names that are still the layer's. An xattr of the copy says how the two differ, in one of two
ways: `U+n` from its own count, which stays true while both change together, or `L+n` from the
layer's, which stays true while a name of the layer's becomes a link.
Source: fs/overlayfs/inode.c, ovl_set_nlink_common; fs/overlayfs/util.c, ovl_nlink_start.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.late_import import late_pattern
from overlayfs_py.layers.host import HostDirectory, HostFile
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.union import inodes

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostTree
    from overlayfs_py.union.staging import StagedFile, StagedName

_NAME = b"index"
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COUNTS = (b"trusted.overlay.nlink", b"user.overlay.nlink")
_NOWHERE_ELSE = b"U-1"  # the name in the index is the only one that does not show
_COUNT = late_pattern(rb"([UL])([+-]?\d{1,10})")


class IndexEntry(HostFile):
    """A copy by its name in the index, which it has as long as any other name shows it."""

    __slots__ = ("_key", "_stored", "extra", "layer_links")

    def __init__(self, directory: HostDirectory, origin: bytes, key: bytes) -> None:
        """Name what is a copy of `origin`; `key` is the xattr that counts."""
        super().__init__(directory, _name_of(origin))
        self.layer_links: int | None = None  # None: not seen in the layer yet
        self.extra = -1  # how many more names show than the inode has links; this one shows nowhere
        self._key = key
        self._stored = b""

    def links(self) -> int:
        """How many names show the file."""
        return self.status().st_nlink + self.extra

    def read_count(self, layer_links: int | None) -> None:
        """Learn how many names show; `layer_links` have been in the layer, if that is known."""
        self.layer_links = layer_links
        value = find_xattr(self, self._key) or b""
        parsed = _COUNT.fullmatch(value)
        if parsed is None:
            return
        self._stored = value
        relative_to, difference = parsed[1], int(parsed[2])
        if relative_to == b"U":
            self.extra = difference
        elif layer_links is not None:
            self.extra = layer_links + difference - self.status().st_nlink

    def begin_change(self) -> None:
        """Be about to get a name, or to lose one, that the inode counts."""
        self._store(b"U%+d" % self.extra)

    def begin_link_up(self) -> None:
        """Be about to have one name more in the upper that showed from below."""
        if self.layer_links is None:
            self._store(b"U%+d" % (self.extra - 1))
        else:
            self._store(b"L%+d" % (self.links() - self.layer_links))

    def end_link_up(self) -> None:
        """Have it: who comes by that name may not know how many the layer has."""
        self.extra -= 1
        self.begin_change()

    def _store(self, value: bytes) -> None:
        if self._stored != value and self._key:
            inodes.set_xattr(self, self._key, value)
            self._stored = value


class Index:
    """The index of one workdir; it is made when it is first needed."""

    def __init__(self, tree: HostTree, work_fd: int) -> None:
        """Read the names of an index that is there; `work_fd` stays the caller's."""
        self._tree = tree
        self._work_fd = work_fd
        self._directory: HostDirectory | None = None
        self._names: set[bytes] = set()
        self.key = b""  # of the xattr that counts; none where the upper takes none
        with suppress(FileNotFoundError):
            self._directory = self._opened()
            self._names = {os.fsencode(name) for name in os.listdir(self._directory.fd())}

    def close(self) -> None:
        """Close the directory."""
        if self._directory is not None:
            self._directory.let_go()

    @property
    def directory(self) -> HostDirectory | None:
        """Where the copies are; None before the first."""
        return self._directory

    @property
    def is_empty(self) -> bool:
        """Whether nothing needs to be looked for."""
        return not self._names

    def remove_orphans(self) -> None:
        """Remove copies that lost their last name when a process was killed."""
        for name in tuple(self._names):
            with suppress(FileNotFoundError, IsADirectoryError):
                self._remove_orphan(name)

    def _remove_orphan(self, name: bytes) -> None:
        assert self._directory is not None
        status = os.stat(name, dir_fd=self._directory.fd(), follow_symlinks=False)
        if status.st_nlink == 1 and self.key:
            value = find_xattr(HostFile(self._directory, name), self.key)
            if value == _NOWHERE_ELSE:
                os.unlink(name, dir_fd=self._directory.fd())
                self._names.discard(name)

    def shown_elsewhere(self) -> set[int]:
        """The numbers of the copies that may show under names that the upper does not have."""
        found = set()
        for name in self._names:
            assert self._directory is not None
            copy = HostFile(self._directory, name)
            with suppress(FileNotFoundError, IsADirectoryError):
                if not any(find_xattr(copy, key) == _NOWHERE_ELSE for key in _COUNTS):
                    found.add(copy.attributes().ino)
        return found

    def find(self, origin: bytes) -> IndexEntry | None:
        """Return the copy of `origin`, if there is one."""
        if self._directory is None or _name_of(origin) not in self._names:
            return None
        return IndexEntry(self._directory, origin, self.key)

    def add(
        self, staged: StagedFile | StagedName, origin: bytes, *, links: int, layer_links: int
    ) -> IndexEntry:
        """Put a copy in place, of a file that shows `links` names and has more in its layer."""
        if self._directory is None:
            with suppress(FileExistsError):
                os.mkdir(_NAME, 0o700, dir_fd=self._work_fd)
            self._directory = self._opened()
        entry = IndexEntry(self._directory, origin, self.key)
        count = b"L%+d" % (links - layer_links)
        if self.key:
            inodes.set_xattr(staged.item, self.key, count)
        staged.place_unseen(self._directory, entry.name)
        self._names.add(entry.name)
        entry.read_count(layer_links)
        entry.extra = links - 1
        return entry

    def remove(self, entry: IndexEntry) -> None:
        """Remove a copy that no name shows any more."""
        assert self._directory is not None
        os.unlink(entry.name, dir_fd=self._directory.fd())
        self._names.discard(entry.name)

    def has_more_names(self) -> bool:
        """Whether a copy may show under names that are none of its links."""
        return any(self._shows_more(entry) for entry in self._entries())

    def _shows_more(self, entry: IndexEntry) -> bool:
        value = find_xattr(entry, self.key) if self.key else None
        parsed = _COUNT.fullmatch(value or b"")
        return parsed is None or parsed[1] != b"U" or int(parsed[2]) != -1

    def remove_all(self) -> None:
        """Let every copy have its other names only."""
        for entry in self._entries():
            if self.key and find_xattr(entry, self.key) is not None:
                inodes.remove_xattr(entry, self.key)
            self.remove(entry)

    def _entries(self) -> list[IndexEntry]:
        directory = self._directory
        if directory is None:
            return []
        return [IndexEntry(directory, bytes.fromhex(os.fsdecode(n)), self.key) for n in self._names]

    def _opened(self) -> HostDirectory:
        return HostDirectory.opened(self._tree, os.open(_NAME, _OPEN, dir_fd=self._work_fd))


def _name_of(origin: bytes) -> bytes:
    return origin.hex().encode()
