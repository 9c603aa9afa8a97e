"""A layer that is made here: its pack is written and its tar recorded in one pass over the data.

The tar is never written. What it would be is hashed for the diff ID, and recorded, so that the
pack gives it again, bit for bit.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.layers.reserved_xattrs import seen_name
from overlayfs_py.packs.errors import BadEntry
from overlayfs_py.packs.format import SectionId
from overlayfs_py.packs.from_tar import origin_section
from overlayfs_py.packs.values import Hole, shown
from overlayfs_py.tars.members import Kind, Member, Segment
from overlayfs_py.tars.split import Recorder
from overlayfs_py.tars.writer import TarWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.packs.values import DataOrHole, Metadata, Path
    from overlayfs_py.packs.writer import PackWriter

_SPECIAL = {
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}


class MadeLayer(NamedTuple):
    """What a layer's tar is."""

    diff_sha256: bytes
    tar_size: int
    files_size: int  # what all regular files add up to, a hard link counted once


class LayerWriter:
    """Takes a layer's objects in the order of its tar, which the layer's digest depends on.

    That is a directory, its marks, then what is in it by name, as `to_tar.write_tar` has it.

    Every method raises BadEntry for what no layer can hold, Unwritten where the pack's file takes
    no more. After an error the pack is useless.
    """

    def __init__(self, pack: PackWriter) -> None:
        """Write to a pack that has nothing in it; `pack.finish` is the caller's."""
        self._pack = pack
        self._recorder = Recorder()
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._files_size = 0
        self._tar = TarWriter(self._write_raw)

    def add_directory(self, path: Path, meta: Metadata, *, opaque: bool = False) -> None:
        """Add a directory; one that is opaque hides what the layers below have in its place."""
        self._pack.add_directory(path, meta, opaque=opaque)
        self._tar.add(_member(path, Kind.DIRECTORY, meta))
        if opaque:
            self._tar.add(Member(path, Kind.OPAQUE, 0, mtime_ns=meta.mtime_ns))

    def add_file(self, path: Path, meta: Metadata, size: int, data: Iterable[DataOrHole]) -> None:
        """Add a regular file of `size` bytes."""
        member = _member(path, Kind.FILE, meta)._replace(size=size)
        self._tar.begin(member)
        before = self._size
        number = self._pack.add_file(path, meta, self._hashed(data))
        if self._size - before != size:
            raise BadEntry(f"{shown(path)}: its size changed while it was read")
        if size:
            self._recorder.data(number, (Segment(0, size),))
        self._tar.end(member)
        self._files_size += size

    def add_link(self, path: Path, target: Path, meta: Metadata) -> None:
        """Give a file of this layer, whose metadata is `meta`, a further name."""
        self._pack.add_link(path, target)
        self._tar.add(_member(path, Kind.HARD_LINK, meta)._replace(link=target, xattrs=()))

    def add_symlink(self, path: Path, meta: Metadata, target: bytes) -> None:
        """Add a symbolic link."""
        self._pack.add_symlink(path, meta, target)
        self._tar.add(_member(path, Kind.SYMLINK, meta)._replace(target=target))

    def add_special(self, path: Path, kind: int, meta: Metadata, rdev: int = 0) -> None:
        """Add a device or FIFO: `kind` is its S_IF* type, `rdev` as of os.makedev."""
        if kind == stat.S_IFCHR and rdev == 0:
            raise BadEntry(f"{shown(path)}: a character device 0:0 means a deletion in a layer")
        self._pack.add_special(path, kind, meta, rdev)
        self._tar.add(_member(path, _SPECIAL[kind], meta)._replace(rdev=rdev))

    def add_whiteout(self, path: Path, mtime_ns: int) -> None:
        """Delete a name from the layers below; `mtime_ns` is its directory's."""
        self._pack.add_whiteout(path)
        self._tar.add(Member(path, Kind.WHITEOUT, 0, mtime_ns=mtime_ns))

    def finish(self) -> MadeLayer:
        """End the tar, and let the pack know it."""
        self._tar.finish()
        digest = self._sha256.digest()
        self._pack.add_section(SectionId.ORIGIN, origin_section(digest, self._size))
        self._pack.add_section(SectionId.TARSPLIT, self._recorder.finish(digest))
        return MadeLayer(digest, self._size, self._files_size)

    def _write_raw(self, data: bytes | memoryview) -> None:
        self._count(data)
        self._recorder.raw(data)

    def _count(self, data: bytes | bytearray | memoryview) -> None:
        self._sha256.update(data)
        self._size += len(data)

    def _hashed(self, data: Iterable[DataOrHole]) -> Iterator[DataOrHole]:
        for piece in data:
            if isinstance(piece, Hole):
                for start in range(0, piece.length, len(_ZEROS)):
                    self._count(_ZEROS[: piece.length - start])
            else:
                self._count(piece)
            yield piece


_ZEROS = memoryview(bytes(1 << 16))


def _member(path: Path, kind: Kind, meta: Metadata) -> Member:
    xattrs = tuple(sorted((_seen(path, name), value) for name, value in meta.xattrs))
    return Member(path, kind, meta.permissions, meta.uid, meta.gid, meta.mtime_ns, xattrs=xattrs)


def _seen(path: Path, on_disk: bytes) -> bytes:
    name = seen_name(on_disk)
    if name is None:
        raise BadEntry(f"{shown(path)}: {os.fsdecode(on_disk)} describes a layer, not a file")
    return name
