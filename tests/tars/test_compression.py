"""Compressed streams: every form, in pieces of any size, with digests, and damaged ones."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import random
import zlib
from typing import TYPE_CHECKING

import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.tars.compression import Decompressor, LayerStream
from overlayfs_py.tars.engines import Compression, compressor, zstd
from overlayfs_py.tars.errors import BadCompression, TooLarge
from tests.system.processes import run
from tests.tars.reading import cut

if TYPE_CHECKING:
    from pathlib import Path

DATA = random.Random(1).randbytes(50_000) + b"compressible " * 20_000
GZIP = gzip.compress(DATA, mtime=0)
ZSTD = zstd.compress(DATA)
LZ4 = lz4.frame.compress(DATA, content_checksum=True)
SKIPPED = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"


def _gzip_with_everything() -> bytes:
    head = b"\x1f\x8b\x08\x1e\0\0\0\0\0\3" + b"\x04\0abcd" + b"name\0" + b"comment\0"
    return head + (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") + GZIP[10:]


STREAMS = {
    "plain": (Compression.PLAIN, DATA, DATA),
    "gzip": (Compression.GZIP, GZIP, DATA),
    "gzip members": (Compression.GZIP, GZIP + gzip.compress(b"") + GZIP, DATA * 2),
    "gzip with a whole header": (Compression.GZIP, _gzip_with_everything(), DATA),
    "zstd": (Compression.ZSTD, ZSTD, DATA),
    "zstd frames": (Compression.ZSTD, SKIPPED + ZSTD + SKIPPED + ZSTD + SKIPPED, DATA * 2),
    "lz4": (Compression.LZ4, LZ4, DATA),
    "lz4 frames": (Compression.LZ4, LZ4 + LZ4, DATA * 2),
    "bzip2": (Compression.BZIP2, bz2.compress(DATA) * 2, DATA * 2),
    "xz": (Compression.XZ, lzma.compress(DATA) * 2, DATA * 2),
    "nothing": (Compression.PLAIN, b"", b""),
    "a little": (Compression.PLAIN, b"\x1f", b"\x1f"),
}
COMPRESSED = [name for name in STREAMS if STREAMS[name][0] is not Compression.PLAIN]


@pytest.mark.parametrize("piece", [1, 7, 4096, 1 << 20])
@pytest.mark.parametrize("name", STREAMS)
def test_every_form_in_pieces_of_any_size(name: str, piece: int) -> None:
    compression, packed, unpacked = STREAMS[name]
    stream = LayerStream(cut(packed, piece))

    blocks = list(stream)

    assert b"".join(blocks) == unpacked
    assert stream.compression is compression
    assert (stream.packed.size, stream.unpacked.size) == (len(packed), len(unpacked))
    assert stream.packed.digest == hashlib.sha256(packed).digest()
    assert stream.unpacked.digest == hashlib.sha256(unpacked).digest()


@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_a_stream_that_is_cut_short_is_an_error(name: str, piece: int) -> None:
    packed = STREAMS[name][1]

    with pytest.raises(BadCompression, match="cut short"):
        list(LayerStream(cut(packed[:-3], piece)))


@pytest.mark.parametrize("garbage", [b"\0", b"garbage", b"\0" * 512])
@pytest.mark.parametrize("name", COMPRESSED)
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_what_follows_the_end_is_an_error(name: str, garbage: bytes, piece: int) -> None:
    with pytest.raises(BadCompression, match="something else follows"):
        list(LayerStream(cut(STREAMS[name][1] + garbage, piece)))


@pytest.mark.parametrize(
    "name", [name for name in COMPRESSED if "header" not in name and "frames" not in name]
)
def test_a_flipped_bit_in_the_data_is_found(name: str) -> None:
    packed = bytearray(STREAMS[name][1])
    if name == "zstd":
        packed[:] = zstd.compress(DATA, options={zstd.CompressionParameter.checksum_flag: 1})
    packed[len(packed) // 3] ^= 4

    with pytest.raises(BadCompression, match=r"bad compressed data at byte \d+: "):
        list(LayerStream([bytes(packed)]))


def test_a_wrong_checksum_of_a_gzip_header_is_an_error() -> None:
    packed = bytearray(_gzip_with_everything())
    packed[20] ^= 1

    with pytest.raises(BadCompression, match="header with a wrong checksum"):
        list(LayerStream([bytes(packed)]))


def test_a_gzip_header_that_never_ends_is_given_up() -> None:
    with pytest.raises(BadCompression, match="does not end"):
        list(LayerStream([b"\x1f\x8b\x08\x08\0\0\0\0\0\3", *(b"x" * 65536 for _ in range(9))]))


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD, Compression.LZ4])
def test_a_bomb_stops_at_the_limit(compression: Compression) -> None:
    out = compressor(compression)
    packed = b"".join(out.compress(bytes(1 << 20)) for _ in range(100)) + out.flush()
    decompressor = Decompressor(limit=1 << 20)

    with pytest.raises(TooLarge, match="more than 1048576 bytes"):
        list(decompressor.feed(packed))

    assert decompressor.unpacked.size <= 1 << 20


@pytest.mark.parametrize(
    ("compression", "tool"),
    [(Compression.GZIP, ["gzip", "-dc"]), (Compression.ZSTD, ["zstd", "-dcq"])],
)
def test_others_read_what_we_compress(
    compression: Compression, tool: list[str], tmp_path: Path
) -> None:
    out = compressor(compression)
    text = b"some text\n" * 1000
    (tmp_path / "packed").write_bytes(out.compress(text) + out.flush())

    assert run([*tool, tmp_path / "packed"]) == text.decode()


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD, Compression.LZ4])
def test_compressing_depends_on_nothing_else(compression: Compression) -> None:
    def compressed() -> bytes:
        out = compressor(compression)
        return b"".join(out.compress(piece) for piece in cut(DATA, 1000)) + out.flush()

    packed = compressed()
    assert packed == compressed()
    assert b"".join(LayerStream([packed])) == DATA
    if compression is Compression.GZIP:
        assert packed[4:8] == bytes(4)  # no time


@given(st.binary(max_size=200), st.sampled_from(COMPRESSED), st.integers(0, 2000))
def test_any_damage_is_one_kind_of_error(damage: bytes, name: str, at: int) -> None:
    packed = STREAMS[name][1]

    try:
        blocks = list(
            LayerStream([packed[:at] + damage + packed[at + len(damage) :]], limit=1 << 22)
        )
    except (BadCompression, TooLarge):
        return
    assert sum(map(len, blocks)) <= 1 << 22
