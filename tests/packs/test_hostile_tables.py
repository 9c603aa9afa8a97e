"""Tables as large as a liar can make them: what is asked of them takes no longer for it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.packs.errors import BadEntry, CorruptLayer
from overlayfs_py.packs.values import Metadata
from tests.packs.reading import layer_of, write
from tests.waits import hostile_packs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.packs.layer import PackLayer

PIECES = 40_000


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "pack"
    hostile_packs.write_files(path, PIECES, chunks=3)
    return path


@pytest.fixture
def layer(files: Path) -> Iterator[PackLayer]:
    with layer_of(files) as opened:
        yield opened


def _pages(layer: PackLayer) -> int:
    """How many pages of the index have been read."""
    return sum(layer.pack.index._pages)


def test_of_very_many_pieces_the_last_are_taken_for_data(layer: PackLayer) -> None:
    found = layer.root.file(b"sparse").attributes()

    assert found.size == 2 * PIECES
    # Of 32,768 every other byte, and all of the rest.
    assert found.blocks * 512 == -(-(32_768 + found.size - 2 * 32_768) // 4096) * 4096


def test_a_piece_is_found_without_those_before_it(layer: PackLayer) -> None:
    reader = layer.root.file(b"sparse").open_reader()
    before = _pages(layer)

    assert reader.read(2 * PIECES - 5, 5) == b"\0x\0x\0"
    assert reader.try_read(PIECES, 4) == b"x\0x\0"
    assert reader.seek(PIECES, os.SEEK_DATA) == PIECES
    assert reader.seek(PIECES, os.SEEK_HOLE) == PIECES + 1
    assert _pages(layer) - before < 20


def test_what_takes_long_is_for_a_thread(layer: PackLayer) -> None:
    file = layer.root.file(b"dense")
    reader = file.open_reader()

    assert reader.try_read(0, PIECES) is None
    assert reader.read(0, PIECES) == b"x" * PIECES
    assert file.pieces() == PIECES


def test_a_hole_that_is_far_is_not_looked_for(layer: PackLayer) -> None:
    """All that is behind may be taken for data: lseek(2)."""
    reader = layer.root.file(b"dense").open_reader()
    before = _pages(layer)

    assert reader.seek(0, os.SEEK_HOLE) == PIECES
    assert _pages(layer) - before < 20


def test_xattrs_that_nobody_could_list_are_refused(layer: PackLayer) -> None:
    with pytest.raises(CorruptLayer, match="xattrs"):
        layer.root.file(b"xattrs").list_xattrs()

    many = tuple((b"user.%0200d" % number, b"") for number in range(400))
    with pytest.raises(BadEntry, match="too many xattrs"):
        write(lambda pack: pack.add_file((b"file",), Metadata(xattrs=many), ()))


def test_a_target_that_is_the_whole_table_is_refused(layer: PackLayer) -> None:
    with pytest.raises(CorruptLayer, match="has no target"):
        layer.root.file(b"link").read_link()
