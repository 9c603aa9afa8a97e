"""A local archive that ADD unpacks: laid over the image entry by entry, nothing on the host's disk.

Only the files' data is kept meanwhile, in one file without a name. Links of the archive and of the
image lead nowhere out of the destination. Source: moby/go-archive, archive.go.
"""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING

from overlayfs_py.builds.draft import Content, Draft, Node
from overlayfs_py.builds.failures import BadContext, CannotPlace
from overlayfs_py.builds.modes import DIRECTORY_MODE
from overlayfs_py.packs.values import Hole, shown
from overlayfs_py.packs.xattr_values import NAMESPACES, VALID_VALUES
from overlayfs_py.tars.compression import LayerStream
from overlayfs_py.tars.engines import Compression
from overlayfs_py.tars.errors import BadCompression, BadMember, BadTar
from overlayfs_py.tars.members import Hole as TarHole
from overlayfs_py.tars.members import Kind
from overlayfs_py.tars.reader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.builds.context import Context, Item
    from overlayfs_py.builds.owners import Owner
    from overlayfs_py.builds.spool import Spool
    from overlayfs_py.packs.values import DataOrHole, Path
    from overlayfs_py.tars.members import Member, Segment

_TYPES = {
    Kind.FILE: stat.S_IFREG,
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}
_STEP = 1 << 20


def is_archive(context: Context, item: Item) -> bool:
    """Whether a source is what ADD unpacks: a tar with an entry, in a compression that docker has.

    Its content tells, whatever it is called.
    """
    if not item.is_file:
        return False
    stream = LayerStream(_blocks(context, item))
    try:
        first = next(TarReader(stream), None)
    except BadMember:
        return True  # which is said where it is unpacked
    except (BadTar, BadCompression):
        return False
    return first is not None and stream.compression is not Compression.LZ4


def unpack(
    draft: Draft, place: Path, context: Context, item: Item, owner: Owner | None, spool: Spool
) -> None:
    """Unpack an archive to a directory that is there; all of it is `owner`'s, if one is given.

    Raises:
        BadContext: the archive is damaged.
        CannotPlace: an entry cannot be where it is to be.
    """
    unpacking = _Unpacking(draft, place, owner, spool)
    reader = TarReader(LayerStream(_blocks(context, item)))
    try:
        for member in reader:
            unpacking.add(member, reader)
    except (BadTar, BadCompression) as error:
        name = os.fsdecode(b"/".join(item.path))
        raise BadContext(name, error.strerror or "a damaged archive") from error


class _Unpacking:
    def __init__(self, draft: Draft, place: Path, owner: Owner | None, spool: Spool) -> None:
        self._draft = draft
        self._place = place
        self._owner = owner
        self._spool = spool

    def add(self, member: Member, reader: TarReader) -> None:
        if not member.path:
            return  # the destination is there, and stays as it is
        if member.kind in {Kind.WHITEOUT, Kind.OPAQUE, Kind.PRIVATE}:
            raise CannotPlace(
                shown((*self._place, *member.path)), "names that begin with .wh. mean deletions"
            )
        draft = self._draft
        parent = draft.resolve(member.path[:-1], self._place)
        draft.make_directories(parent, DIRECTORY_MODE, 0, 0)
        path = (*parent, member.path[-1])
        if member.kind is Kind.HARD_LINK:
            target = draft.resolve(member.link[:-1], self._place)
            draft.link(path, (*target, *member.link[-1:]))
            return
        node = self._node(member)
        if member.kind is Kind.FILE:
            node.content = self._content(member, reader)
        directory = draft.directory_at(path[:-1])
        before = draft.child(directory, path[-1])
        if before is not None and before.is_directory and node.is_directory:
            draft.describe(before, node)
        else:
            draft.put(directory, path[-1], node)

    def _node(self, member: Member) -> Node:
        uid, gid = self._owner or (member.uid, member.gid)
        mode = 0o777 if member.kind is Kind.SYMLINK else member.mode
        return Node(
            _TYPES[member.kind] | mode,
            uid,
            gid,
            self._draft.time_of(member.mtime_ns),
            {name: value for name, value in member.xattrs if _is_kept(name, value)},
            member.rdev,
            member.target,
        )

    def _content(self, member: Member, reader: TarReader) -> Content:
        start = self._spool.end
        for piece in reader.data():
            if not isinstance(piece, TarHole):
                self._spool.add(piece)
        data = partial(_pieces, self._spool, start, member.segments, member.size)
        return Content(member.size, data)


def _pieces(
    spool: Spool, start: int, segments: tuple[Segment, ...], size: int
) -> Iterator[DataOrHole]:
    here = 0
    for offset, length in segments:
        if offset > here:
            yield Hole(offset - here)
        yield from spool.read(start, length)
        start, here = start + length, offset + length
    if here < size:
        yield Hole(size - here)


def _blocks(context: Context, item: Item) -> Iterator[bytes]:
    for piece in context.data(item):
        if isinstance(piece, Hole):
            for start in range(0, piece.length, _STEP):
                yield bytes(min(_STEP, piece.length - start))
        else:
            yield bytes(piece)


def _is_kept(name: bytes, value: bytes) -> bool:
    """Whether Linux has such an xattr, as where layers are unpacked."""
    is_valid = VALID_VALUES.get(name)
    return is_valid(value) if is_valid is not None else name.startswith(NAMESPACES)
