"""Writing a pack, as a stream: data as it comes, then the index, then the footer."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.packs.blocks import library_version
from overlayfs_py.packs.chunk_writer import ChunkWriter, Extents
from overlayfs_py.packs.errors import BadEntry, Unwritten
from overlayfs_py.packs.format import (
    ALIGNMENT,
    EXTENT,
    FOOTER_SIZE,
    LONGEST_TARGET,
    MOST_SECTIONS,
    REQUIRED,
    Flag,
    Footer,
    Section,
    SectionId,
    aligned,
    header,
)
from overlayfs_py.packs.index_writer import IndexWriter
from overlayfs_py.packs.tree import Tree, require_path
from overlayfs_py.packs.values import FAST, InodeNumber, Metadata, PackOptions, PackSummary, shown
from overlayfs_py.packs.xattr_sets import XattrSets

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

    from overlayfs_py.packs.values import DataOrHole, Path

_SPECIAL = (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK)


class PackWriter:
    """Writes one pack to a binary file that need not seek, and that the caller closes.

    Objects may come in any order, as in a tar: a parent that nobody has described is a directory
    of root's with mode 0755 and time 0, until somebody does. What comes later under the same path
    replaces what was there, except that a directory takes over the place of a directory with all
    that is in it. An object that lost its last name stays in the pack under its number, with its
    data, and shows nowhere.

    A path is taken literally: where one of its parents is not a directory, not even a symbolic
    link is followed, and a directory replaces it.

    Every method raises BadEntry for what no pack can hold, and then has changed nothing but maybe
    made the parents; Unwritten where `out` takes no more, which makes the pack useless. Without
    `finish` the file is no pack.
    """

    def __init__(self, out: BinaryIO, options: PackOptions = PackOptions()) -> None:  # noqa: B008
        """Begin a pack in `out`, at its beginning."""
        self._out = out
        self._options = options
        self._tree = Tree()
        self._names = bytearray()  # symbolic links' targets, then names
        self._xattrs = XattrSets()
        self._extents = bytearray()
        self._sections: dict[int, bytes] = {}
        self._data_bytes = 0
        self._offset = 0
        self._write(header(options.chunk_log2))
        self._chunks = ChunkWriter(self._write, self._offset, options)

    # Objects.

    def add_directory(self, path: Path, meta: Metadata, *, opaque: bool = False) -> InodeNumber:
        """Add or describe a directory, `()` being the root; what is in it stays.

        One that was opaque stays so.
        """
        require_path(path)
        xattrs = self._xattrs.add(meta.xattrs)
        number = self._tree.directory(path)
        self._tree.describe(number, meta, xattrs)
        if opaque:
            self._tree.mark_opaque(number)
        return number

    def mark_opaque(self, path: Path) -> None:
        """Let a directory hide what the layers below have at its place; made if it is missing.

        It does not matter whether what is in it comes before or after.
        """
        require_path(path)
        self._tree.mark_opaque(self._tree.directory(path))

    def add_file(self, path: Path, meta: Metadata, data: Iterable[DataOrHole]) -> InodeNumber:
        """Add a regular file, its data in pieces of any length.

        Pieces are used before the next one is asked for, so a buffer may be filled again. A file
        may end in a hole.
        """
        directory, name = self._place(path)
        number = self.add_nameless_file(meta, data)
        self._tree.put(directory, name, number)
        return number

    def add_nameless_file(self, meta: Metadata, data: Iterable[DataOrHole]) -> InodeNumber:
        """Add a regular file that shows nowhere, unless `add_name` gives it a name."""
        xattrs = self._xattrs.add(meta.xattrs)
        stored = self._chunks.store(data)
        self._data_bytes += stored.data_bytes
        flags, first, count = self._put_extents(stored)
        return self._tree.add_inode(
            stat.S_IFREG,
            meta,
            size=stored.size,
            first=first,
            count=count,
            flags=flags,
            xattrs=xattrs,
        )

    def add_name(self, path: Path, number: InodeNumber) -> None:
        """Give a file of this pack a further name."""
        directory, name = self._place(path)
        self._tree.put(directory, name, number)

    def add_symlink(self, path: Path, meta: Metadata, target: bytes) -> InodeNumber:
        """Add a symbolic link."""
        if not 0 < len(target) <= LONGEST_TARGET or b"\0" in target:
            raise BadEntry(f"{shown(path)}: this cannot be a link's target: {target[:80]!r}")
        directory, name = self._place(path)
        xattrs = self._xattrs.add(meta.xattrs)
        number = self._tree.add_inode(
            stat.S_IFLNK, meta, size=len(target), first=len(self._names), xattrs=xattrs
        )
        self._names += target
        self._tree.put(directory, name, number)
        return number

    def add_special(
        self, path: Path, kind: int, meta: Metadata, rdev: int = 0
    ) -> InodeNumber | None:
        """Add a device, FIFO or socket: `kind` is its S_IF* type, `rdev` as of os.makedev.

        The character device 0:0 is a whiteout, and None is returned for it.
        """
        if kind not in _SPECIAL:
            raise BadEntry(f"{shown(path)}: neither device, FIFO nor socket: type {kind:o}")
        if kind == stat.S_IFCHR and rdev == 0:
            self.add_whiteout(path)
            return None
        directory, name = self._place(path)
        xattrs = self._xattrs.add(meta.xattrs)
        device = rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0
        first = os.major(device) << 32 | os.minor(device)
        number = self._tree.add_inode(kind, meta, first=first, xattrs=xattrs)
        self._tree.put(directory, name, number)
        return number

    def add_link(self, path: Path, target: Path) -> InodeNumber:
        """Give what is at `target` a further name; a link to itself is there already.

        Raises:
            BadEntry: ENOENT where nothing is at `target`, EPERM where a directory is.
        """
        number = self._tree.find(target)
        if number is None:
            why = f"{shown(path)}: a hard link to {shown(target)}, which is not in this layer"
            raise BadEntry(why, errno.ENOENT)
        if stat.S_ISDIR(self._tree.mode_of(number)):
            raise BadEntry(
                f"{shown(path)}: a hard link to the directory {shown(target)}", errno.EPERM
            )
        directory, name = self._place(path)
        self._tree.put(directory, name, number)
        return number

    def add_whiteout(self, path: Path) -> None:
        """Delete a name from the layers below.

        What this layer itself shows under the name stays, whichever comes first; a directory
        then merges with nothing below.
        """
        directory, name = self._place(path)
        self._tree.add_whiteout(directory, name)

    @property
    def replaced(self) -> int:
        """How often something has taken the place of something else: what was where has changed."""
        return self._tree.replaced

    def kind_of(self, path: Path) -> int | None:
        """Return the S_IF* type of what is at a path now, None if nothing is."""
        number = self._tree.find(path)
        return None if number is None else stat.S_IFMT(self._tree.mode_of(number))

    # The whole.

    def add_section(self, section: int, data: bytes) -> None:
        """Keep `data`, of any kind, in the pack: ORIGIN, TARSPLIT, or an id that is not known yet.

        Raises:
            ValueError: it is there already, is one of the writer's own, or there are too many.
        """
        if section in REQUIRED or section in self._sections:
            raise ValueError(f"section {section} is there already")
        if len(self._sections) + len(REQUIRED) >= MOST_SECTIONS:
            raise ValueError("too many sections")
        self._sections[section] = data

    def finish(self) -> PackSummary:
        """Write what is still to be written; nothing can be added any more.

        The caller flushes `out`, and syncs it if the pack is to survive a crash.
        """
        chunks = self._chunks.finish()
        tables = self._tree.finish(self._names)
        meta = self._meta(tables.counts._asdict())
        sections: dict[int, bytes | bytearray] = {
            SectionId.INODES: tables.inodes,
            SectionId.DIRENTS: tables.dirents,
            SectionId.NAMES: tables.names,
            SectionId.XATTRS: self._xattrs.table,
            SectionId.EXTENTS: self._extents,
            SectionId.CHUNKS: chunks,
            SectionId.LINKS: tables.links,
            SectionId.META: meta,
            **dict(sorted(self._sections.items())),
        }
        self._pad()
        digest, index_bytes = self._write_index(sections)
        return PackSummary(
            digest,
            tables.counts,
            self._data_bytes,
            self._chunks.count,
            self._chunks.stored_bytes,
            index_bytes,
            self._offset,
        )

    def _write_index(self, sections: dict[int, bytes | bytearray]) -> tuple[bytes, int]:
        start = self._offset
        index = IndexWriter(self._write)
        placed = []
        for section, data in sections.items():
            index.write(bytes(aligned(index.length) - index.length))
            placed.append(Section(section, index.length, len(data)))
            index.write(data)
        digests = index.finish()
        self._write(digests)
        footer = Footer(
            self._options.chunk_log2,
            self._offset + FOOTER_SIZE,
            start,
            index.length,
            hashlib.sha256(digests).digest(),
            tuple(placed),
        )
        packed = footer.pack()
        self._write(packed)
        return packed[-hashlib.sha256().digest_size :], index.length

    def _meta(self, counts: dict[str, int]) -> bytes:
        """How the pack was made: nothing that differs from one run to the next."""
        level = self._options.level
        meta = {
            "chunk_bytes": self._options.chunk_size,
            "counts": counts,
            "data_bytes": self._data_bytes,
            "level": "fast" if level == FAST else f"hc{level}",
            "lz4": library_version(),
        }
        return json.dumps(meta, sort_keys=True, separators=(",", ":")).encode()

    def _put_extents(self, stored: Extents) -> tuple[int, int, int]:
        """Return an inode's flags, `first` and `count`; one piece needs no record of its own."""
        pieces = stored.pieces
        if len(pieces) == 1 and pieces[0][1] == stored.size:
            return Flag.INLINE, pieces[0][2], 0
        flags = Flag.SPARSE if stored.data_bytes < stored.size else 0
        first = len(self._extents) // EXTENT.size
        for piece in pieces:
            self._extents += EXTENT.pack(*piece)
        return flags, first, len(pieces)

    def _place(self, path: Path) -> tuple[InodeNumber, bytes]:
        require_path(path)
        if not path:
            raise BadEntry("the root can only be a directory")
        return self._tree.directory(path[:-1]), path[-1]

    def _pad(self) -> None:
        self._write(bytes(-self._offset % ALIGNMENT))

    def _write(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        while view:
            # An unbuffered file may take less than it is given.
            view = view[self._take(view) :]
        self._offset += len(data)

    def _take(self, data: memoryview) -> int:
        try:
            return self._out.write(data)
        except BrokenPipeError:
            raise  # whoever read the pack has had enough: no failure of its file
        except OSError as error:
            raise Unwritten(self._out, error) from error
