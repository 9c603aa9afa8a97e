"""Who goes from chunk to chunk finds the next one loaded, and nobody else is kept waiting."""

from __future__ import annotations

import os
import random
import time
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.packs.chunks import ChunkCache, process_cache
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.read_ahead import DEPTH
from overlayfs_py.packs.values import Metadata
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import StackSpec
from tests.packs.reading import write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.packs.reader import PackReader
    from overlayfs_py.packs.writer import PackWriter

CHUNK = 1 << 12
DATA = random.Random(1).randbytes(60 * CHUNK)
_DEADLINE_S = 10


def fill(writer: PackWriter) -> None:
    writer.add_file((b"file",), Metadata(), [DATA])


@pytest.fixture
def path(tmp_path: Path) -> bytes:
    (tmp_path / "pack").write_bytes(write(fill))
    return os.fsencode(tmp_path / "pack")


def reader_of(pack: Pack) -> PackReader:
    return pack.reader(pack.index.inode(1))


def read(pack: Pack, *numbers: int) -> None:
    for number in numbers:
        start = number * CHUNK
        assert reader_of(pack).read(start, CHUNK) == DATA[start : start + CHUNK]


def loaded(pack: Pack) -> set[int]:
    return {number for number in range(60) if pack.chunks.find(number) is not None}


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_next_chunks_are_there_before_they_are_wanted(path: bytes) -> None:
    with Pack(path) as pack:
        read(pack, 7, 8)
        wait_until(lambda: loaded(pack) == {7, 8, *range(9, 9 + DEPTH)})

        read(pack, 9)
        wait_until(lambda: 9 + DEPTH in loaded(pack))


def test_the_end_is_the_end(path: bytes) -> None:
    with Pack(path) as pack:
        read(pack, 57, 58, 59)
        wait_until(lambda: loaded(pack) == {57, 58, 59})


def test_who_jumps_about_has_nothing_loaded_that_he_did_not_ask_for(path: bytes) -> None:
    cache = ChunkCache()
    with Pack(path, cache) as jumping, Pack(path, cache) as steady:
        read(jumping, 0, 20, 10, 40, 30)
        # Wishes are fulfilled in order: whatever was wished before is there by then.
        read(steady, 0, 1)
        wait_until(lambda: 1 + DEPTH in loaded(steady))

        assert loaded(jumping) == {0, 20, 10, 40, 30}


def test_a_forked_process_looks_ahead_as_well(path: bytes) -> None:
    with Pack(path) as pack:
        read(pack, 0, 1)
        child = os.fork()
        if child == 0:
            try:
                read(pack, 30, 31)
                wait_until(lambda: 31 + DEPTH in loaded(pack))
            except BaseException:
                os._exit(1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_damage_ahead_is_told_to_whom_it_meets(path: bytes) -> None:
    with Pack(path) as sound:
        offset = sound.index.chunk(3)[0]
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 1]))

    with Pack(path) as pack:
        read(pack, 0, 1)
        wait_until(lambda: loaded(pack) == {0, 1, 2, 4, 5})
        read(pack, 2)
        with pytest.raises(CorruptLayer, match="chunk 3 is damaged"):
            reader_of(pack).read(3 * CHUNK, 10)
        read(pack, 4)


def test_a_closed_pack_leaves_nothing_behind(path: bytes) -> None:
    cache = ChunkCache()
    for _ in range(200):
        with Pack(path, cache) as pack:
            read(pack, 0, 1)
    with Pack(path, cache) as pack:
        read(pack, 0, 1)
        wait_until(lambda: len(loaded(pack)) == 2 + DEPTH)

    assert cache.size_bytes == 0


def test_all_mounts_of_a_process_share_what_they_keep(path: bytes) -> None:
    before = process_cache().size_bytes
    unions = [Union(StackSpec((path,))) for _ in range(2)]
    for union in unions:
        node = union.lookup(union.root, b"file")
        assert node is not None
        assert union.read(node, 0, 10) == DATA[:10]
    both = process_cache().size_bytes

    unions.pop().close()
    one = process_cache().size_bytes
    unions.pop().close()

    assert (both - before, one - before) == (2 * CHUNK, CHUNK)
    assert process_cache().size_bytes == before
