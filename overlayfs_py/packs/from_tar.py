"""A layer's tar made into a pack, in one pass: uncompressed, hashed, read, packed and recorded.

Two threads: one uncompresses and hashes, the other reads the tar and writes the pack. Both spend
most of their time outside of the interpreter's lock.
"""

from __future__ import annotations

import json
import logging
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.layers.reserved_xattrs import disk_name
from overlayfs_py.packs.errors import BadEntry
from overlayfs_py.packs.format import SectionId
from overlayfs_py.packs.tar_paths import TarPaths
from overlayfs_py.packs.values import Hole, Metadata
from overlayfs_py.packs.xattr_values import NAMESPACES, VALID_VALUES
from overlayfs_py.tars.ahead import Ahead
from overlayfs_py.tars.compression import LayerStream
from overlayfs_py.tars.errors import BadTar
from overlayfs_py.tars.members import Hole as TarHole
from overlayfs_py.tars.members import Kind
from overlayfs_py.tars.reader import TarReader
from overlayfs_py.tars.split import Recorder
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.packs.values import DataOrHole, InodeNumber, Path
    from overlayfs_py.packs.writer import PackWriter
    from overlayfs_py.tars.engines import Compression
    from overlayfs_py.tars.members import Member

log = logging.getLogger(__name__)

_SPECIAL = {
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}


class PackedTar(NamedTuple):
    """What was seen of a tar on its way into a pack."""

    diff_sha256: bytes  # of the uncompressed tar: the layer's diff ID
    tar_size: int
    blob_sha256: bytes  # of what came in
    blob_size: int
    compression: Compression
    files_size: int  # what all regular files add up to, with their holes; links counted once


def pack_tar(blocks: Iterable[bytes], writer: PackWriter, *, limit: int | None = None) -> PackedTar:
    """Add all of a tar to a pack, with what it takes to make the tar again.

    `blocks` are those of the tar as it comes, compressed or not, in pieces of any size; they are
    iterated in a thread of their own. `limit` bounds the uncompressed size. `writer.finish` is the
    caller's; after an error the pack is useless.

    Raises:
        BadTar, BadCompression, TooLarge: what came in.
        OSError: from writing, and whatever `blocks` raises.
    """
    stream = LayerStream(blocks, limit=limit)
    recorder = Recorder()
    layer = _Layer(writer, recorder)
    with Ahead(stream) as ahead:
        reader = TarReader(ahead, recorder.raw)
        for member in reader:
            try:
                layer.add(member, reader)
            except BadEntry as error:
                name = b"/".join(member.path)
                raise BadTar(str(error.strerror), member.offset, name) from None
    digest = stream.unpacked.digest
    writer.add_section(SectionId.ORIGIN, origin_section(digest, stream.unpacked.size))
    writer.add_section(SectionId.TARSPLIT, recorder.finish(digest))
    compression = stream.compression
    assert compression is not None
    return PackedTar(
        digest,
        stream.unpacked.size,
        stream.packed.digest,
        stream.packed.size,
        compression,
        layer.files_size,
    )


def origin_section(digest: bytes, size: int) -> bytes:
    """Nothing about the compression: the same tar makes the same pack, however it came."""
    origin = {"diff_id": f"sha256:{digest.hex()}", "tar_bytes": size}
    return json.dumps(origin, sort_keys=True, separators=(",", ":")).encode()


class _Layer:
    """Puts entries where they belong in the pack."""

    def __init__(self, writer: PackWriter, recorder: Recorder) -> None:
        self._writer = writer
        self._recorder = recorder
        self._paths = TarPaths(writer)
        self._private: dict[Path, InodeNumber] = {}
        self.files_size = 0

    def add(self, member: Member, reader: TarReader) -> None:
        writer = self._writer
        path = self._paths.resolve(member.path)
        match member.kind:
            case Kind.FILE:
                number = writer.add_file(path, _metadata(member), _data(member, reader))
                self._recorder.data(number, member.segments)
                self.files_size += member.size
            case Kind.PRIVATE:
                number = writer.add_nameless_file(_metadata(member), _data(member, reader))
                self._recorder.data(number, member.segments)
                self._private[member.path] = number
            case Kind.DIRECTORY:
                writer.add_directory(path, _metadata(member))
            case Kind.SYMLINK:
                writer.add_symlink(path, _metadata(member), member.target)
                self._paths.add_symlink(path, member.target)
            case Kind.HARD_LINK:
                self._add_link(path, member.link)
            case Kind.WHITEOUT:
                writer.add_whiteout(path)
            case Kind.OPAQUE:
                writer.mark_opaque(path)
            case _:
                writer.add_special(path, _SPECIAL[member.kind], _metadata(member), member.rdev)

    def _add_link(self, path: Path, target: Path) -> None:
        private = self._private.get(target)
        if private is None:
            self._writer.add_link(path, self._paths.resolve(target))
        else:
            self._writer.add_name(path, private)


def _metadata(member: Member) -> Metadata:
    xattrs = member.xattrs
    if xattrs:
        # A tar says by names what the layer is; an xattr in it is only what a user saw, and must
        # not redirect a directory, hide what is below, or stand for an owner.
        xattrs = tuple(
            (disk_name(name), value) for name, value in xattrs if _is_kept(member, name, value)
        )
    return Metadata(member.mode, member.uid, member.gid, member.mtime_ns, None, xattrs)


def _is_kept(member: Member, name: bytes, value: bytes) -> bool:
    """Whether Linux has such an xattr: the others are dropped, as where layers are unpacked.

    A malformed one would be refused at the unpacking, or break what it is on later.
    """
    if not name.startswith(NAMESPACES) and name not in VALID_VALUES:
        return False
    is_valid = VALID_VALUES.get(name)
    if is_valid is None or is_valid(value):
        return True
    log.warning("%s: invalid %s dropped", quoted(b"/".join(member.path)), name.decode())
    return False


def _data(member: Member, reader: TarReader) -> Iterator[DataOrHole]:
    for piece in reader.data():
        yield Hole(piece.length) if isinstance(piece, TarHole) else piece
