"""Every tool's tars: read as what went in, and made again bit for bit."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.tars.members import Kind
from overlayfs_py.tars.writer import TarWriter
from tests.system.processes import run
from tests.tars.corpus import MAKERS, SPARSE_SIZE
from tests.tars.reading import read_tar, rebuilt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.tars.members import Member

    TarBy = Callable[[str], bytes]

_SECOND_NS = 1_000_000_000
_TYPES = {
    Kind.DIRECTORY: stat.S_IFDIR,
    Kind.FILE: stat.S_IFREG,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}
_EXACT_TIMES = [
    "gnu, pax",
    "gnu, sparse 0.0",
    "gnu, sparse 0.1",
    "gnu, sparse 1.0",
    "bsdtar, pax",
    "bsdtar, sparse pax",
]
_WITH_XATTRS = ["gnu, pax and xattrs", "bsdtar, pax"]
_ALL_XATTRS = ((b"user.a", b"1"), (b"user.b=c", b"\0\xff\n"), (b"user.empty", b""))
_SPARSE = [maker for maker in MAKERS if "sparse" in maker]


@pytest.mark.parametrize("maker", MAKERS)
def test_the_tar_is_made_again_bit_for_bit(maker: str, tar_by: TarBy) -> None:
    tar = tar_by(maker)
    read = read_tar(tar)

    assert read.members
    assert rebuilt(read, len(tar)) == tar


@pytest.mark.parametrize("maker", MAKERS)
def test_what_comes_of_a_tar_does_not_show_how_it_came_in_pieces(maker: str, tar_by: TarBy) -> None:
    whole = read_tar(tar_by(maker), 1 << 30)

    assert read_tar(tar_by(maker), 1000) == whole


def _last_of_each(members: list[Member], files: list[bytes]) -> dict[bytes, tuple[Member, bytes]]:
    return {
        b"/".join(member.path): (member, data) for member, data in zip(members, files, strict=True)
    }


@pytest.mark.parametrize("maker", MAKERS)
def test_entries_say_what_went_in(maker: str, tar_by: TarBy, tree: Path) -> None:
    found = _last_of_each(*read_tar(tar_by(maker))[:2])

    for name, (member, data) in found.items():
        if member.kind is Kind.HARD_LINK:
            first = found[b"/".join(member.link)]
            assert first[1] == (tree / os.fsdecode(name)).read_bytes()
            continue
        _assert_same(member, data, tree / os.fsdecode(name))
    kinds = {member.kind for member, _ in found.values()}
    assert {Kind.FILE, Kind.HARD_LINK, Kind.DIRECTORY} <= kinds


def _assert_same(member: Member, data: bytes, original: Path) -> None:
    status = original.lstat()
    assert _TYPES[member.kind] == stat.S_IFMT(status.st_mode)
    if member.kind is not Kind.SYMLINK:
        assert member.mode == stat.S_IMODE(status.st_mode)
    assert (member.uid, member.rdev) == (status.st_uid, status.st_rdev)
    match member.kind:
        case Kind.FILE:
            assert data == original.read_bytes()
        case Kind.SYMLINK:
            assert member.target == os.fsencode(original.readlink())


@pytest.mark.parametrize("maker", _EXACT_TIMES)
def test_times_are_exact_to_the_nanosecond(maker: str, tar_by: TarBy, tree: Path) -> None:
    for member in read_tar(tar_by(maker)).members:
        # bsdtar 3.6 writes -1.5 seconds as "-2.5".
        wrong = maker.startswith("bsdtar") and member.mtime_ns < 0
        if member.kind is not Kind.HARD_LINK and not wrong:
            original = tree / os.fsdecode(b"/".join(member.path))
            assert member.mtime_ns == original.lstat().st_mtime_ns


@pytest.mark.parametrize("maker", _WITH_XATTRS)
def test_xattrs_are_bytes(maker: str, tar_by: TarBy) -> None:
    found = _last_of_each(*read_tar(tar_by(maker))[:2])

    assert found[b"home/xattrs"][0].xattrs == _ALL_XATTRS
    assert found[b"usr/bin/empty"][0].xattrs[0][0] == b"security.capability"


@pytest.mark.parametrize("maker", _SPARSE)
def test_holes_stay_holes(maker: str, tar_by: TarBy) -> None:
    found = _last_of_each(*read_tar(tar_by(maker))[:2])

    member = found[b"sparse"][0]
    assert member.size == SPARSE_SIZE
    assert [segment.offset for segment in member.segments] == [0, 4 << 20]
    assert sum(segment.length for segment in found[b"hole"][0].segments) == 0
    assert found[b"hole"][0].size == 1 << 20


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("tool", ["tar", "bsdtar"])
def test_other_tools_read_what_we_write(
    maker: str, tool: str, tar_by: TarBy, tmp_path: Path
) -> None:
    read = read_tar(tar_by(maker))
    written = bytearray()
    writer = TarWriter(written.extend)
    for member, data in zip(read.members, read.files, strict=True):
        writer.add(member, [data])
    writer.finish()
    again = read_tar(bytes(written))

    assert [_identity(member) for member in again.members] == [
        _identity(member) for member in read.members
    ]
    assert again.files == read.files
    (tmp_path / "ours.tar").write_bytes(written)
    listing = run([tool, "-t", "-f", tmp_path / "ours.tar"])
    assert len(listing.splitlines()) == len(read.members)


def _identity(member: Member) -> Member:
    """What a member says, not how it lay in its tar."""
    return member._replace(segments=(), offset=0)
