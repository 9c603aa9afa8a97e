"""A layer's blob, as it comes in, made into a pack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image import media_types
from overlayfs_py.image.digest import digest_of_hex
from overlayfs_py.packs.format import SectionId
from overlayfs_py.packs.values import Hole, Metadata
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.store.layers import LayerFacts
from overlayfs_py.tars.ahead import Ahead
from overlayfs_py.tars.compression import LayerStream
from overlayfs_py.tars.members import Kind
from overlayfs_py.tars.reader import TarReader
from overlayfs_py.tars.split import Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.packs.values import DataOrHole
    from overlayfs_py.store.layers import LayerIngest
    from overlayfs_py.tars.members import Member

import stat

_SPECIAL = {
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}


def write_layer(blocks: Iterable[bytes], ingest: LayerIngest, media_type: str) -> LayerFacts:
    media_types.compression_of(media_type)
    stream = LayerStream(blocks)
    with ingest.path.open("xb") as out, Ahead(stream) as ahead:
        writer = PackWriter(out)
        recorder = Recorder()
        reader = TarReader(ahead, recorder.raw)
        size = 0
        for member in reader:
            size += _add(writer, recorder, reader, member)
        writer.add_section(SectionId.TARSPLIT, recorder.finish(stream.unpacked.digest))
        summary = writer.finish()
    diff_id = digest_of_hex(stream.unpacked.digest.hex())
    return LayerFacts(diff_id, stream.unpacked.size, size, f"sha256:{summary.digest.hex()}")


def _add(writer: PackWriter, recorder: Recorder, reader: TarReader, member: Member) -> int:
    meta = Metadata(member.mode, member.uid, member.gid, member.mtime_ns, None, member.xattrs)
    match member.kind:
        case Kind.DIRECTORY:
            writer.add_directory(member.path, meta)
        case Kind.FILE:
            number = writer.add_file(member.path, meta, _data(reader))
            recorder.data(number, member.segments)
            return member.size
        case Kind.SYMLINK:
            writer.add_symlink(member.path, meta, member.target)
        case Kind.HARD_LINK:
            writer.add_link(member.path, member.link)
        case Kind.WHITEOUT:
            writer.add_whiteout(member.path)
        case Kind.OPAQUE:
            writer.mark_opaque(member.path)
        case _:
            writer.add_special(member.path, _SPECIAL[member.kind], meta, member.rdev)
    return 0


def _data(reader: TarReader) -> Iterator[DataOrHole]:
    for piece in reader.data():
        yield Hole(piece.length) if not isinstance(piece, memoryview) else piece
