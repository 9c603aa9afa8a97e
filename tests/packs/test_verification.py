"""`verify` finds every flipped bit, and says which files it hits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.from_tar import pack_tar
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.values import PackOptions
from overlayfs_py.packs.verification import verify
from overlayfs_py.packs.writer import PackWriter
from tests.tars.making import END, entry, header, pax

if TYPE_CHECKING:
    from pathlib import Path

_TAR = (
    entry(b"small", b"abc")
    + entry(b"d/large", os.urandom(3000) + b"x" * 3000)
    + header(b"d/link", kind=b"1", link=b"small")
    + header(b"l", kind=b"2", link=b"d/large")
    + pax((b"SCHILY.xattr.user.a", b"b"))
    + entry(b"x", b"more")
    + END
)


def _pack(path: Path) -> bytes:
    with path.open("wb") as out:
        writer = PackWriter(out, PackOptions(chunk_log2=12))
        pack_tar([_TAR], writer)
        writer.finish()
    return path.read_bytes()


def _damages(path: Path) -> list[str]:
    try:
        with Pack(os.fsencode(path)) as pack:
            return [damage.why for damage in verify(pack)]
    except CorruptLayer as error:
        return [str(error.strerror)]


def test_a_whole_pack_is_whole(tmp_path: Path) -> None:
    _pack(tmp_path / "pack")

    assert _damages(tmp_path / "pack") == []


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    good = _pack(path)

    with path.open("r+b") as file:
        for at in range(len(good)):
            for bit in range(8) if at % 16 == 0 else (at % 8,):
                os.pwrite(file.fileno(), bytes([good[at] ^ 1 << bit]), at)
                assert _damages(path), f"bit {bit} of byte {at}"
            os.pwrite(file.fileno(), good[at : at + 1], at)
    assert _damages(path) == []


def test_damage_names_the_files(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    good = _pack(path)
    path.write_bytes(good[:64] + bytes([good[64] ^ 1]) + good[65:])

    with Pack(os.fsencode(path)) as pack:
        [damage] = verify(pack)

    assert "chunk 1" in damage.why
    assert damage.paths == ((b"d", b"large"),)


def test_every_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "pack"
    good = _pack(path)

    for length in range(0, len(good), 37):
        path.write_bytes(good[:length])
        assert _damages(path), f"cut to {length}"
