"""The index of a pack: read and verified by the page on first touch, never parsed as a whole.

Plan: an anonymous mapping of the index's size, filled page by page. The same reads from a mapping
of the file would be cheaper to set up, but a file that somebody truncates would then kill the
process (SIGBUS), and what was verified once could change afterwards. Here a damaged page is an
error of whoever needs it, and a verified one stays what it was.

Every number that comes from the pack is checked before it is used: whoever made a pack may lie,
digests or not. Parents have lower numbers than what is in them, and a directory has one name, so
no walk can go round in circles.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import sys
from bisect import bisect_left, bisect_right
from itertools import chain
from typing import TYPE_CHECKING, NoReturn

from overlayfs_py.packs.columns import SwappedColumn
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import (
    CHUNK,
    DIGEST_SIZE,
    DIRENT,
    EXTENT,
    INODE,
    LINK,
    MOST_XATTR_NAME_BYTES,
    MOST_XATTR_SET_BYTES,
    NO_DIRENT,
    PAGE_LOG2,
    PAGE_SIZE,
    ROOT,
    XATTR,
    XATTR_ALIGNMENT,
    XATTR_SET,
    Inode,
    SectionId,
    name_hash,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.packs.columns import Column
    from overlayfs_py.packs.format import Footer, Section

# An index up to this size is read when the pack is opened, 1 ms for a Debian root: its pages are
# wanted in no order, and from a cold disk each would be waited for.
_READ_AT_ONCE = 1 << 20
# Names: the table of so many, a hundred pages, is read as one. Whoever makes a pack may say that a
# directory has millions.
LARGE_DIRECTORY = 16_384
# The same of a file's pieces: of more, those that are asked for.
_MOST_EXTENTS = 4096
_EXTENTS_AT_ONCE = 512
# Pieces that are counted to tell how much of a file is stored: 2 ms.
_MOST_COUNTED = 1 << 15
_INODE_LOG2 = 6
_INODES_PER_PAGE_LOG2 = PAGE_LOG2 - _INODE_LOG2
_KNOWN_XATTR_SETS = 256
_DIRECTORY_TYPE = stat.S_IFDIR >> 12
_SIZE = Inode._fields.index("size")


# One record of a directory: a name, and the number and type of what it stands for (NO_INODE and 0
# for a whiteout, else the upper bits of an S_IF* type).
Name = tuple[bytes, int, int]
# The number of an object, and then all fields of its `Inode`.
Child = tuple[int, ...]


class Index:
    """The tables of one pack."""

    def __init__(self, fd: int, footer: Footer, digests: bytes, path: bytes) -> None:
        """Read from `fd`, which stays its owner's; `path` names the pack in errors."""
        self._fd = fd
        self._footer = footer
        self._digests = digests
        self._path = path
        self._pages = bytearray(footer.pages)  # 1 where a page is there and verified
        memory = mmap.mmap(-1, footer.index_length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        # A huge page for every first touch would be 128 times what was read.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        self._memory = memoryview(memory)
        self._sections = {section.id: section for section in footer.sections}
        self.inodes = self._records(SectionId.INODES, INODE.size)
        dirents = self._sections[SectionId.DIRENTS]
        self._dirents = dirents.offset
        self.dirents = self._records(SectionId.DIRENTS, DIRENT.size)
        self._names = self._sections[SectionId.NAMES]
        self._extents = self._sections[SectionId.EXTENTS]
        self._extent_count = self._records(SectionId.EXTENTS, EXTENT.size)
        self.chunks = self._records(SectionId.CHUNKS, CHUNK.size)
        self._links = self._sections[SectionId.LINKS]
        self._link_count = self._records(SectionId.LINKS, LINK.size)
        # One field of each record, for the bisections and sums of the C library.
        self._hashes = self._column(dirents, 4, DIRENT.size)
        self._offsets = self._column(self._extents, 8, EXTENT.size)
        self._lengths = self._column(self._extents, 8, EXTENT.size, start=8)
        self._linked = self._column(self._links, 4, LINK.size)
        self._xattr_sets: dict[int, dict[bytes, bytes]] = {}
        if self.inodes == 0:
            self._refuse("it has no root directory")
        if footer.index_length <= _READ_AT_ONCE:
            self._load_at_once()

    # Inodes.

    def inode(self, number: int) -> Inode:
        """Return an object by its number."""
        if number >= self.inodes:
            self._refuse(f"there is no inode {number}")
        if not self._pages[number >> _INODES_PER_PAGE_LOG2]:
            self._load(number >> _INODES_PER_PAGE_LOG2)
        return Inode._make(INODE.unpack_from(self._memory, number << _INODE_LOG2))

    def directory(self, number: int, *, whole: bool = True) -> Inode:
        """Return a directory's inode, once its part of the tables is there.

        Unless it is needed `whole`, that of a large one is read where it is used.
        """
        inode = self.inode(number)
        if not stat.S_ISDIR(inode.mode):
            self._refuse(f"inode {number} is no directory")
        self._require(inode.first + inode.amount <= self.dirents, "names", number)
        if whole or inode.amount <= LARGE_DIRECTORY:
            start = self._dirents + inode.first * DIRENT.size
            self._need(start, start + inode.amount * DIRENT.size)
        return inode

    # Names.

    def find(self, directory: Inode, name: bytes) -> int:
        """Return where a directory has a name, -1 if it has not; of two a whiteout is second."""
        wanted = name_hash(name)
        if directory.amount > LARGE_DIRECTORY:
            return self._find_in_large(directory, wanted, name)
        end = directory.first + directory.amount
        at = bisect_left(self._hashes, wanted, directory.first, end)
        if at == end or self._hashes[at] != wanted:
            return -1
        if self.name_at(at) != name:
            # Another name with the same hash: a liar may have made many.
            last = bisect_right(self._hashes, wanted, at, end)
            at += bisect_left(range(at, last), name, key=self.name_at)
            if at == last or self.name_at(at) != name:
                return -1
        return at

    def _find_in_large(self, directory: Inode, wanted: int, name: bytes) -> int:
        """Do that with the pages that lie on the way: all of them would take seconds."""
        first, end = directory.first, directory.first + directory.amount
        found = bisect_left(range(first, end), (wanted, name), key=self._sorted_by)
        at = first + found
        if at == end or self._sorted_by(at) != (wanted, name):
            return -1
        if at + 1 < end:
            self._sorted_by(at + 1)  # a whiteout of the same name, maybe
        return at

    def _sorted_by(self, at: int) -> tuple[int, bytes]:
        start = self._dirents + at * DIRENT.size
        self._need(start, start + DIRENT.size)
        return self._hashes[at], self.name_at(at)

    def dirent(self, at: int) -> tuple[int, int]:
        """Return the number and type that a name stands for; the type is 0 for a whiteout."""
        _, _, number, _, kind = DIRENT.unpack_from(self._memory, self._dirents + at * DIRENT.size)
        return number, kind

    def name_at(self, at: int) -> bytes:
        """Return a name by its place in the table of a directory that was asked for."""
        _, offset, _, length, _ = DIRENT.unpack_from(self._memory, self._dirents + at * DIRENT.size)
        return self.text(offset, length)

    def hash_at(self, at: int) -> int:
        """Return what a name is sorted by."""
        return self._hashes[at]

    def names(self, directory: Inode) -> Iterator[Name]:
        """List a directory, in the order of its table."""
        first, end = directory.first, directory.first + directory.amount
        if directory.amount <= LARGE_DIRECTORY:
            return self._some_names(first, end)
        starts = range(first, end, LARGE_DIRECTORY)
        parts = (self._some_names(at, min(end, at + LARGE_DIRECTORY)) for at in starts)
        return chain.from_iterable(parts)

    def _some_names(self, first: int, last: int) -> Iterator[Name]:
        start = self._dirents + first * DIRENT.size
        end = self._dirents + last * DIRENT.size
        self._need(start, end)
        base, limit = self._names.offset, self._names.offset + self._names.length
        memory = self._memory
        ready = range(0)  # what is known to be in memory
        for _, offset, number, length, kind in DIRENT.iter_unpack(memory[start:end]):
            begin = base + offset
            stop = begin + length
            if begin < ready.start or stop > ready.stop:
                if stop > limit:
                    self._refuse("a name lies outside of its table")
                self._need(begin, stop)
                ready = range(begin, min(limit, -(-stop // PAGE_SIZE) * PAGE_SIZE))
            name = bytes(memory[begin:stop])
            if name in _NO_NAMES or b"/" in name or b"\0" in name:
                self._refuse(f"{name!r} cannot be a name")
            yield name, number, kind

    def text(self, offset: int, length: int) -> bytes:
        """Return a name or a symbolic link's target."""
        if offset + length > self._names.length:
            self._refuse("a name lies outside of its table")
        start = self._names.offset + offset
        self._need(start, start + length)
        return bytes(self._memory[start : start + length])

    def child(self, parent: int, at: int, number: int, kind: int) -> Inode:
        """Return the inode that a name of `parent` stands for, if both agree on what it is."""
        inode = self.inode(number)
        if inode.mode >> 12 != kind:
            self._refuse(f"inode {number} is not of the type that its name says")
        if kind == _DIRECTORY_TYPE and (number <= parent or inode.size != parent | at << 32):
            self._refuse(f"directory {number} does not belong where its name is")
        return inode

    def children(
        self, directory: Inode, parent: int, names: Iterable[bytes]
    ) -> Iterator[Child | None]:
        """Yield what each name of a directory, whose number is `parent`, stands for.

        None for a whiteout, for what is not there, and where `find` and `child` have to say what
        is wrong. It is what they do, in one loop: a listing asks for each of its names, and
        they would be four calls of the eight microseconds that they take together.
        """
        hashes, memory, pages = self._hashes, self._memory, self._pages
        first, end = directory.first, directory.first + directory.amount
        dirents, texts, limit = self._dirents, self._names.offset, self._names.length
        is_large = directory.amount > LARGE_DIRECTORY
        for name in names:
            wanted = name_hash(name)
            at = -1 if is_large else bisect_left(hashes, wanted, first, end)
            if not first <= at < end or hashes[at] != wanted:
                yield None
                continue
            _, offset, number, length, kind = DIRENT.unpack_from(memory, dirents + at * DIRENT.size)
            start, page = texts + offset, number >> _INODES_PER_PAGE_LOG2
            if (
                offset + length > limit
                or memory[start : start + length] != name
                or number >= self.inodes
                or not pages[page]
            ):
                yield None
                continue
            inode = INODE.unpack_from(memory, number << _INODE_LOG2)
            belongs = kind != _DIRECTORY_TYPE or (
                number > parent and inode[_SIZE] == parent | at << 32
            )
            yield (number, *inode) if inode[0] >> 12 == kind and belongs else None

    def path_of(self, number: int) -> tuple[bytes, ...]:
        """Return a directory's path; none that loops, since numbers fall on the way up."""
        names: list[bytes] = []
        while number != ROOT:
            inode = self.directory(number)
            parent, at = inode.size & 0xFFFFFFFF, inode.size >> 32
            self._require(parent < number and at != NO_DIRENT, "parent", number)
            above = self.directory(parent)
            self._require(above.first <= at < above.first + above.amount, "parent", number)
            names.append(self.name_at(at))
            number = parent
        return tuple(reversed(names))

    def paths_of(self, number: int) -> list[tuple[bytes, ...]]:
        """Return every path of a file with more than one."""
        start = self._links.offset
        self._need(start, start + self._links.length)
        first = bisect_left(self._linked, number, 0, self._link_count)
        end = bisect_right(self._linked, number, first, self._link_count)
        paths = []
        for place in range(first, end):
            _, parent, at = LINK.unpack_from(self._memory, start + place * LINK.size)
            directory = self.directory(parent)
            self._require(
                directory.first <= at < directory.first + directory.amount, "links", number
            )
            paths.append((*self.path_of(parent), self.name_at(at)))
        return paths

    # Data.

    def extents(self, inode: Inode, start: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield the pieces of a file between two offsets: offset in it, length, address.

        They come in order, do not overlap, and are cut to the range.
        """
        first, last = inode.first, inode.first + inode.amount
        self._require(last <= self._extent_count, "extents of inode", inode.first)
        base = self._extents.offset
        if inode.amount <= _MOST_EXTENTS:
            ready = self._need_extents(first, last)
            at = bisect_right(self._offsets, start, first, last)
        else:
            # All of them would take seconds, those that lie on the way are few.
            ready = first
            at = first + bisect_right(range(first, last), start, key=self._offset_at)
        at = max(first, at - 1)
        while at < last and start < end:
            if at >= ready or ready == first:
                ready = self._need_extents(at, min(last, at + _EXTENTS_AT_ONCE))
            offset, length, address = EXTENT.unpack_from(self._memory, base + at * EXTENT.size)
            begin, stop = max(start, offset), min(end, offset + length)
            if begin >= end:
                return
            if begin < stop:
                yield begin, stop - begin, address + begin - offset
                start = stop
            at += 1

    def _need_extents(self, first: int, last: int) -> int:
        base = self._extents.offset
        self._need(base + first * EXTENT.size, base + last * EXTENT.size)
        return last

    def _offset_at(self, at: int) -> int:
        self._need_extents(at, at + 1)
        return self._offsets[at]

    def stored_bytes(self, inode: Inode) -> int:
        """Return how many bytes of a file with holes are stored.

        Of one in more than 32,768 pieces all that comes after these is taken for data.
        """
        first, last = inode.first, inode.first + inode.amount
        self._require(last <= self._extent_count, "extents of inode", inode.first)
        end = self._need_extents(first, min(last, first + _MOST_COUNTED))
        stored = sum(map(self._lengths.__getitem__, range(first, end)))
        if end < last:
            stored += max(0, inode.size - self._offsets[end - 1] - self._lengths[end - 1])
        return min(stored, inode.size)

    def all_extents(self, inode: Inode) -> Iterator[tuple[int, int, int]]:
        """Yield a file's extents as they stand in the table: offset in it, length, address."""
        last = inode.first + inode.amount
        self._require(last <= self._extent_count, "extents of inode", inode.first)
        base = self._extents.offset
        self._need(base + inode.first * EXTENT.size, base + last * EXTENT.size)
        for at in range(inode.first, last):
            yield EXTENT.unpack_from(self._memory, base + at * EXTENT.size)

    def chunk(self, number: int) -> tuple[int, int, int, bytes]:
        """Return a chunk's place, stored length, codec and length, and digest."""
        if number >= self.chunks:
            self._refuse(f"there is no chunk {number}")
        start = self._sections[SectionId.CHUNKS].offset + number * CHUNK.size
        self._need(start, start + CHUNK.size)
        fields: tuple[int, int, int, bytes] = CHUNK.unpack_from(self._memory, start)
        return fields

    # Xattrs and sections.

    def xattrs(self, inode: Inode) -> dict[bytes, bytes]:
        """Return an object's xattrs; not to be changed."""
        if inode.xattrs == 0:
            return _NO_XATTRS
        known = self._xattr_sets.get(inode.xattrs)
        if known is None:
            known = self._parse_xattrs(inode.xattrs)
            if len(self._xattr_sets) >= _KNOWN_XATTR_SETS:
                self._xattr_sets.clear()
            self._xattr_sets[inode.xattrs] = known
        return known

    def xattr_sets(self) -> Iterator[int]:
        """Yield where every set of xattrs is, each one checked."""
        at = XATTR_ALIGNMENT
        while at < self._sections[SectionId.XATTRS].length:
            self._parse_xattrs(at)
            yield at
            _, length = XATTR_SET.unpack(self._xattr_head(at))
            at += max(1, -(-length // XATTR_ALIGNMENT)) * XATTR_ALIGNMENT

    def section(self, section: int) -> bytes | None:
        """Return all of a section, None where the pack has none."""
        found = self._sections.get(section)
        if found is None:
            return None
        self._need(found.offset, found.offset + found.length)
        return bytes(self._memory[found.offset : found.offset + found.length])

    def _parse_xattrs(self, offset: int) -> dict[bytes, bytes]:
        section = self._sections[SectionId.XATTRS]
        start = section.offset + offset
        amount, length = XATTR_SET.unpack(self._xattr_head(offset))
        self._require(
            length <= MOST_XATTR_SET_BYTES and offset + length <= section.length, "xattrs", offset
        )
        self._need(start, start + length)
        found = {}
        at, end = start + XATTR_SET.size, start + length
        room = MOST_XATTR_NAME_BYTES
        for _ in range(amount):
            self._require(at + XATTR.size <= end, "xattrs", offset)
            name_length, value_length = XATTR.unpack_from(self._memory, at)
            room -= name_length + 1
            self._require(room >= 0, "xattrs", offset)
            at += XATTR.size
            middle, at = at + name_length, at + name_length + value_length
            self._require(at <= end and name_length > 0, "xattrs", offset)
            name = bytes(self._memory[middle - name_length : middle])
            found[name] = bytes(self._memory[middle:at])
        return found

    def _xattr_head(self, offset: int) -> bytes:
        section = self._sections[SectionId.XATTRS]
        self._require(offset + XATTR_SET.size <= section.length, "xattrs", offset)
        return self.raw(section.offset + offset, section.offset + offset + XATTR_SET.size)

    # Pages.

    def raw(self, start: int, end: int) -> bytes:
        """Return a range of the index's bytes."""
        self._need(start, end)
        return bytes(self._memory[start:end])

    def load_all(self) -> Iterator[tuple[int, CorruptLayer | None]]:
        """Read every page; yields each one's number, and what is wrong with it."""
        for page in range(len(self._pages)):
            try:
                self._load(page)
            except CorruptLayer as damage:
                yield page, damage
            else:
                yield page, None

    def _need(self, start: int, end: int) -> None:
        """Have the bytes of a range of the index in memory, verified."""
        if start == end:
            return
        last = ((end - 1) >> PAGE_LOG2) + 1
        page = self._pages.find(0, start >> PAGE_LOG2, last)
        while page >= 0:
            self._load(page)
            page = self._pages.find(0, page, last)

    def _load(self, page: int) -> None:
        """Read and verify one page. Two threads may do so at once: they write the same."""
        start = page * PAGE_SIZE
        length = min(PAGE_SIZE, self._footer.index_length - start)
        data = os.pread(self._fd, length, self._footer.index_offset + start)
        if not self._keep(page, data):
            self._refuse(f"page {page} of its index is damaged")

    def _load_at_once(self) -> None:
        """Read and verify every page; one that is damaged is left for whoever needs it."""
        data = memoryview(os.pread(self._fd, self._footer.index_length, self._footer.index_offset))
        for page in range(len(self._pages)):
            self._keep(page, data[page * PAGE_SIZE : (page + 1) * PAGE_SIZE])

    def _keep(self, page: int, data: bytes | memoryview) -> bool:
        """Take over a page's bytes, if they are those that were written."""
        digest = self._digests[page * DIGEST_SIZE : (page + 1) * DIGEST_SIZE]
        if hashlib.sha256(data).digest() != digest:
            return False
        self._memory[page * PAGE_SIZE : page * PAGE_SIZE + len(data)] = data
        self._pages[page] = 1
        return True

    def _records(self, section: int, size: int) -> int:
        count, rest = divmod(self._sections[section].length, size)
        if rest:
            self._refuse(f"section {section} has the wrong length")
        return count

    def _column(self, section: Section, width: int, size: int, start: int = 0) -> Column:
        """The field of `width` bytes at `start` of each record of a section."""
        records = self._memory[section.offset + start : section.offset + section.length]
        if sys.byteorder != "little":
            return SwappedColumn(records, width, size)
        fields = records.cast("I") if width == 4 else records.cast("Q")
        return fields[:: size // width]

    def _require(self, true: bool, what: str, number: int) -> None:
        if not true:
            self._refuse(f"its {what} {number} make no sense")

    def _refuse(self, why: str) -> NoReturn:
        raise CorruptLayer(self._path, why)


_NO_XATTRS: dict[bytes, bytes] = {}
_NO_NAMES = frozenset({b"", b".", b".."})
