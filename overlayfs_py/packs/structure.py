"""Whether what a pack says is what a pack can say: every rule of the format, table by table."""

from __future__ import annotations

import stat
from itertools import accumulate
from typing import TYPE_CHECKING

from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import (
    ALL_FLAGS,
    CHUNK_LENGTH_MASK,
    LARGEST_FILE,
    LINK,
    LONGEST_TARGET,
    NO_INODE,
    ROOT,
    Flag,
    Inode,
    SectionId,
    name_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.packs.pack import Pack

_SECOND_NS = 1_000_000_000
_REGULAR = stat.S_IFREG
_TYPES = {
    *(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK),
    *(stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK),
}
_FLAGS_OF = {stat.S_IFDIR: int(Flag.OPAQUE), stat.S_IFREG: Flag.INLINE | Flag.SPARSE}


def check_structure(pack: Pack) -> Iterator[str]:
    """Yield what is wrong with the tables, of whose bytes the digests are right."""
    try:
        yield from _Check(pack).run()
    except CorruptLayer as damage:
        yield str(damage.strerror)


class _Check:
    def __init__(self, pack: Pack) -> None:
        self._pack = pack
        self._index = pack.index
        self._chunk_size = 1 << pack.footer.chunk_log2
        self._names: dict[int, list[tuple[int, int]]] = {}  # of files: directories and dirents
        self._lengths = [
            self._index.chunk(number)[2] & CHUNK_LENGTH_MASK for number in range(self._index.chunks)
        ]
        # How many chunks before each one are not full.
        short = (length != self._chunk_size for length in self._lengths)
        self._short_before = [0, *accumulate(short)]
        self._xattr_sets = {0, *self._index.xattr_sets()}
        self._next_extent = 0

    def run(self) -> Iterator[str]:
        """Look at each record of each table once: a liar must not make that take for ever."""
        first = 0
        for number in range(self._index.inodes):
            inode = self._index.inode(number)
            yield from self._check_inode(number, inode)
            if stat.S_ISDIR(inode.mode):
                if inode.amount and inode.first != first:
                    yield f"the names of directory {number} do not follow those before"
                    return
                yield from self._check_directory(number)
                first += inode.amount
        if first != self._index.dirents:
            yield "some names belong to no directory"
        yield from self._check_links()

    def _check_inode(self, number: int, inode: Inode) -> Iterator[str]:
        kind = stat.S_IFMT(inode.mode)
        if kind not in _TYPES:
            yield f"inode {number} has no type that there is: {inode.mode:o}"
        if inode.flags & ~ALL_FLAGS or inode.flags & ~_FLAGS_OF.get(kind, 0):
            yield f"inode {number} has flags that it cannot have: {inode.flags:x}"
        if inode.mtime_ns >= _SECOND_NS or inode.atime_ns >= _SECOND_NS:
            yield f"inode {number} has a time that is none"
        if number == ROOT and kind != stat.S_IFDIR:
            yield "the root is no directory"
        if inode.xattrs not in self._xattr_sets:
            yield f"inode {number} has xattrs where there are none"
        if kind == stat.S_IFLNK and not 0 < inode.size <= LONGEST_TARGET:
            yield f"symbolic link {number} has no target"
        if kind == stat.S_IFLNK:
            self._index.text(inode.first, inode.size)
        if kind == _REGULAR:
            yield from self._check_data(number, inode)

    def _check_data(self, number: int, inode: Inode) -> Iterator[str]:
        if inode.size > LARGEST_FILE:
            yield f"file {number} is larger than a file can be"
        if inode.flags & Flag.INLINE:
            pieces = [(0, inode.size, inode.first)]
        elif inode.amount and inode.first != self._next_extent:
            yield f"the pieces of file {number} do not follow those before"
            return
        else:
            self._next_extent += inode.amount
            pieces = list(self._index.all_extents(inode))
        here = 0
        stored = 0
        for offset, length, address in pieces:
            if length == 0 or offset < here or offset + length > inode.size:
                yield f"file {number} has pieces that overlap or are out of order"
                return
            if not self._is_stored(address, length):
                yield f"file {number} has data where there is none"
                return
            here = offset + length
            stored += length
        if bool(inode.flags & Flag.SPARSE) != (stored < inode.size):
            yield f"file {number} has holes and does not say so, or the other way round"

    def _is_stored(self, address: int, length: int) -> bool:
        log2 = self._pack.footer.chunk_log2
        first, last = address >> log2, (address + length - 1) >> log2
        if last >= len(self._lengths):
            return False
        full = self._short_before[first] == self._short_before[last]
        return full and address + length - (last << log2) <= self._lengths[last]

    def _check_directory(self, number: int) -> Iterator[str]:
        directory = self._index.directory(number)
        before: tuple[int, bytes, bool] | None = None
        subdirectories = 0
        for at, (name, child, kind) in enumerate(self._index.names(directory), directory.first):
            key = (self._index.hash_at(at), name, child == NO_INODE)
            if key[0] != name_hash(name) or (before is not None and key <= before):
                yield f"the names of directory {number} are not in order"
            if before is not None and key[:2] == before[:2] and not key[2]:
                yield f"directory {number} has {name!r} twice"
            before = key
            if (kind == 0) != (child == NO_INODE):
                yield f"{name!r} in directory {number} is half a whiteout"
            elif child != NO_INODE:
                inode = self._index.child(number, at, child, kind)
                if stat.S_ISDIR(inode.mode):
                    subdirectories += 1
                else:
                    self._names.setdefault(child, []).append((number, at))
        is_named = number == ROOT or directory.nlink
        if directory.nlink != (2 + subdirectories if is_named else 0):
            yield f"directory {number} has a wrong number of links"

    def _check_links(self) -> Iterator[str]:
        links = []
        for number in range(self._index.inodes):
            inode = self._index.inode(number)
            names = self._names.get(number, ())
            if not stat.S_ISDIR(inode.mode) and inode.nlink != len(names):
                yield f"inode {number} has {len(names)} names and says {inode.nlink}"
            if len(names) > 1:
                links += [LINK.pack(number, parent, at) for parent, at in names]
        if b"".join(links) != self._index.section(SectionId.LINKS):
            yield "the table of hard links is not what the names say"
