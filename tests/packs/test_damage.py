"""What is damaged is an error of whoever needs it, and never wrong data."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import FOOTER_SIZE, PAGE_SIZE, parse_footer
from overlayfs_py.packs.pack import Pack
from tests.packs.layers import pack, pack_layer, tell, walk
from tests.packs.test_from_directory import EVERYTHING
from tests.support.trees import build

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.layer import PackLayer


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("good")
    build(home / "layer", EVERYTHING)
    return pack(home / "layer", home / "pack")


def _read_all(layer: PackLayer) -> int:
    """Ask for everything; returns how much was refused. Anything but CorruptLayer goes through."""
    refused = 0
    try:
        for _, directory, name, _ in walk(layer):
            try:
                directory.find(name)
                file = directory.file(name)
                file.list_xattrs()
                file.other_names()
                found = file.attributes()
                file.open_reader().read(0, min(found.size, 1 << 20))
            except CorruptLayer:
                refused += 1
            except OSError as error:
                # Of what has no data to read, or is deleted.
                if error.errno not in (errno.EINVAL, errno.ENOENT):
                    raise
    except CorruptLayer:
        refused += 1
    except FileNotFoundError:
        pass  # listed under a name that its hash does not lead to
    return refused


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_no_flipped_byte_is_ever_served(good: Path, tmp_path: Path, flip: int) -> None:
    data = good.read_bytes()
    with pack_layer(good) as layer:
        expected = tell(layer)
    path = tmp_path / "pack"
    path.write_bytes(data)
    noticed = 0

    with path.open("r+b") as file:
        for at in range(len(data)):
            os.pwrite(file.fileno(), bytes([data[at] ^ flip]), at)
            try:
                with pack_layer(path) as layer:
                    assert tell(layer) == expected, f"byte {at}"
            except CorruptLayer:
                noticed += 1
            os.pwrite(file.fileno(), data[at : at + 1], at)
    # The rest are zeros between chunks and index, which show nowhere; `verify` looks at them.
    assert noticed > len(data) - 64


def test_a_damaged_chunk_costs_its_own_files_alone(good: Path, tmp_path: Path) -> None:
    data = bytearray(good.read_bytes())
    with Pack(os.fsencode(good)) as whole:
        offset, _, _, _ = whole.index.chunk(0)
    data[offset] ^= 1
    path = tmp_path / "pack"
    path.write_bytes(data)

    with pack_layer(path) as layer:
        assert 0 < _read_all(layer) < len(EVERYTHING) // 2
        with pytest.raises(CorruptLayer, match="chunk 0 is damaged"):
            layer.pack.chunks.get(0)


def test_no_cut_pack_opens(good: Path, tmp_path: Path) -> None:
    data = good.read_bytes()
    path = tmp_path / "pack"
    path.write_bytes(data)

    for length in reversed(range(len(data))):
        os.truncate(path, length)
        with pytest.raises(CorruptLayer):
            Pack(os.fsencode(path))


def test_a_pack_that_grew_does_not_open(good: Path, tmp_path: Path) -> None:
    path = tmp_path / "pack"
    path.write_bytes(good.read_bytes() + b"\0")

    with pytest.raises(CorruptLayer):
        Pack(os.fsencode(path))


@given(changes=st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(1, 255)), max_size=6))
@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_liar_with_right_digests_is_refused_or_harmless(
    good: Path, tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    """The index is another one, sealed anew: no crash, no endless walk, only CorruptLayer."""
    path = tmp_path / "pack"
    path.write_bytes(_resealed(good.read_bytes(), changes))

    try:
        with pack_layer(path) as layer:
            _read_all(layer)
    except CorruptLayer as error:
        assert error.filename == os.fsencode(path)  # noqa: PT017 - an error is allowed, not wanted


def _resealed(data: bytes, changes: list[tuple[int, int]]) -> bytes:
    """Change bytes of the index, and give it right digests."""
    footer = parse_footer(data[-FOOTER_SIZE:], len(data))
    start, end = footer.index_offset, footer.index_offset + footer.index_length
    index = bytearray(data[start:end])
    for place, flip in changes:
        index[place % len(index)] ^= flip
    digests = b"".join(
        hashlib.sha256(index[at : at + PAGE_SIZE]).digest()
        for at in range(0, len(index), PAGE_SIZE)
    )
    sealed = replace(footer, digests_sha256=hashlib.sha256(digests).digest())
    return data[:start] + index + digests + sealed.pack()
