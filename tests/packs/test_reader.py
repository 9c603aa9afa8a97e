"""Reading files of a pack: what is done at once, what is kept, what is checked once."""

from __future__ import annotations

import os
import random
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.layers.ids import IdMap
from overlayfs_py.layers.numbering import Numbering
from overlayfs_py.layers.values import WHITEOUT_TYPE, Absence, Attributes
from overlayfs_py.packs.chunks import ChunkCache
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.layer import PackLayer
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.values import Hole, Metadata
from tests.packs.reading import layer_of, write

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.writer import PackWriter

CHUNK = 1 << 12  # of the packs here
DATA = random.Random(1).randbytes(40 * CHUNK + 77)


def fill(writer: PackWriter) -> None:
    writer.add_file((b"large",), Metadata(), [DATA])
    writer.add_file((b"small",), Metadata(), [b"small"])
    writer.add_file((b"holes",), Metadata(), [Hole(CHUNK), DATA[: 3 * CHUNK], Hole(100)])


def test_a_read_is_short_at_the_end_alone(tmp_path: Path) -> None:
    with layer_of(tmp_path / "pack", write(fill)) as layer:
        reader = layer.root.file(b"large").open_reader()
        for offset, size in ((0, 0), (len(DATA) - 5, 100), (len(DATA), 10), (1 << 40, 10)):
            assert reader.read(offset, size) == DATA[offset : offset + size]
            assert reader.try_read(offset, size) == DATA[offset : offset + size]
        holes = bytes(CHUNK) + DATA[: 3 * CHUNK] + bytes(100)
        assert layer.root.file(b"holes").open_reader().read(0, 1 << 20) == holes


def test_much_is_left_to_a_thread_and_little_is_not(tmp_path: Path) -> None:
    with layer_of(tmp_path / "pack", write(fill)) as layer:
        reader = layer.root.file(b"large").open_reader()

        assert reader.try_read(10, 100) == DATA[10:110]
        assert reader.try_read(0, 20 * CHUNK) is None
        assert reader.read(0, 20 * CHUNK) == DATA[: 20 * CHUNK]
        assert reader.try_read(0, 20 * CHUNK) == DATA[: 20 * CHUNK]


def test_what_is_on_the_disk_alone_is_left_to_a_thread(tmp_path: Path) -> None:
    with layer_of(tmp_path / "pack", write(fill)) as layer:
        reader = layer.root.file(b"large").open_reader()
        os.fsync(layer.fd)
        os.posix_fadvise(layer.fd, 0, 0, os.POSIX_FADV_DONTNEED)

        assert reader.try_read(0, 100) is None
        assert reader.read(0, 100) == DATA[:100]
        assert reader.try_read(0, 100) == DATA[:100]


def test_the_cache_is_bounded_and_shared(tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(write(fill))
    cache = ChunkCache(limit_bytes=10 * CHUNK)
    numbering, path = Numbering(), os.fsencode(tmp_path / "pack")
    layers = [PackLayer(numbering, Pack(path, cache), IdMap()) for _ in range(2)]
    for layer in layers:
        reader = layer.root.file(b"large").open_reader()
        assert reader.read(0, len(DATA)) == DATA
        assert cache.size_bytes <= 10 * CHUNK
    layers[1].close()
    # The first one's were thrown out long ago, but for one that was loaded ahead too late.
    assert cache.size_bytes <= CHUNK
    layers[0].close()
    assert cache.size_bytes == 0


def test_a_copy_leaves_the_cache_alone_and_keeps_holes(tmp_path: Path) -> None:
    with layer_of(tmp_path / "pack", write(fill)) as layer, (tmp_path / "copy").open("wb") as copy:
        layer.root.file(b"holes").open_reader().copy_to(copy.fileno(), 5 * CHUNK)

        assert layer.pack.chunks.find(0) is None
    expected = bytes(CHUNK) + DATA[: 3 * CHUNK] + bytes(CHUNK)
    assert (tmp_path / "copy").read_bytes() == expected
    assert (tmp_path / "copy").stat().st_blocks * 512 == 3 * CHUNK


def test_many_threads_read_what_one_does(tmp_path: Path) -> None:
    (tmp_path / "pack").write_bytes(write(fill))
    cache = ChunkCache(limit_bytes=5 * CHUNK)
    layer = PackLayer(Numbering(), Pack(os.fsencode(tmp_path / "pack"), cache), IdMap())
    reader = layer.root.file(b"large").open_reader()
    rng = random.Random(2)
    offsets = [rng.randrange(len(DATA)) for _ in range(2000)]

    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda offset: reader.read(offset, 3 * CHUNK), offsets))

    assert read == [DATA[offset : offset + 3 * CHUNK] for offset in offsets]
    layer.close()


def test_damage_is_found_again_by_who_asks_again(tmp_path: Path) -> None:
    data = bytearray(write(fill))
    data[64 + 10] ^= 1

    with layer_of(tmp_path / "pack", bytes(data)) as layer:
        reader = layer.root.file(b"large").open_reader()
        for _ in range(2):
            with pytest.raises(CorruptLayer, match="chunk 0 is damaged"):
                reader.read(0, 10)
            with pytest.raises(CorruptLayer, match="chunk 0 is damaged"):
                reader.try_read(0, 10)
        assert reader.read(CHUNK, CHUNK) == DATA[CHUNK : 2 * CHUNK]


@pytest.mark.parametrize("name", [b"nonsense", b"user.", b"user.x", b"system.x", b"trusted.x"])
def test_an_xattr_that_is_not_there_is_refused_as_on_a_disk(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"\[Errno") as on_disk:
        os.getxattr(tmp_path / "file", name)

    with (
        layer_of(tmp_path / "pack", write(fill)) as layer,
        pytest.raises(OSError, match=re.escape(repr(name))) as found,
    ):
        layer.root.file(b"small").get_xattr(name)

    assert found.value.errno == on_disk.value.errno


def test_a_large_directory_is_searched_by_the_page(tmp_path: Path) -> None:
    """Its table is not read as a whole, and every name is found all the same."""
    names = [b"f%d" % number for number in range(20_000)]

    def many(writer: PackWriter) -> None:
        for name in names:
            writer.add_symlink((b"d", name), Metadata(), name)
        writer.add_directory((b"d", b"replaced"), Metadata())
        writer.add_whiteout((b"d", b"replaced"))
        writer.add_whiteout((b"d", b"gone"))

    with layer_of(tmp_path / "pack", write(many)) as layer:
        found = layer.root.find(b"d")
        assert isinstance(found, Attributes)
        before = _pages_read(layer)
        directory = layer.root.directory(b"d")
        assert isinstance(directory.find(b"f777"), Attributes)
        assert _pages_read(layer) - before < 40
        assert all(directory.file(name).read_link() == name for name in names[::100])
        assert directory.find(b"nothing") is Absence.MISSING
        assert directory.find(b"gone") is Absence.WHITEOUT
        assert directory.deletes(b"replaced")
        assert not directory.deletes(b"f777")
        listed = {name for name, kind in directory.entries(apart=True) if kind != WHITEOUT_TYPE}
        assert listed == {*names, b"replaced"}


def _pages_read(layer: PackLayer) -> int:
    return sum(layer.pack.index._pages)
