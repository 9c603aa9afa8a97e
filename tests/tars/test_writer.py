"""What is written is read, whatever it is; and it depends on nothing else."""

from __future__ import annotations

import io
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.tars.members import Hole, Kind, Member
from overlayfs_py.tars.writer import TarWriter
from tests.tars.reading import read_tar

_COMPONENT = (
    st.binary(min_size=1, max_size=255)
    .map(lambda name: name.replace(b"/", b"_").replace(b"\0", b"_"))
    .filter(lambda name: name not in (b".", b"..") and not name.startswith(b".wh."))
)
_PATHS = st.lists(_COMPONENT, min_size=1, max_size=5).map(tuple)
_IDS = st.integers(0, (1 << 32) - 2)
_XATTRS = st.dictionaries(
    st.binary(min_size=1, max_size=50).filter(lambda name: b"\0" not in name),
    st.binary(max_size=300),
    max_size=3,
).map(lambda xattrs: tuple(sorted(xattrs.items())))


@st.composite
def _members(draw: st.DrawFn) -> tuple[Member, bytes]:
    kind = draw(st.sampled_from([kind for kind in Kind if kind is not Kind.PRIVATE]))
    data = draw(st.binary(max_size=1100)) if kind is Kind.FILE else b""
    device = kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE)
    symlink = kind is Kind.SYMLINK
    member = Member(
        draw(_PATHS),
        kind,
        draw(st.integers(0, 0o7777)),
        draw(_IDS),
        draw(_IDS),
        draw(st.integers(-(1 << 62), 1 << 62)),
        len(data),
        draw(st.integers(0, 0xFFFF)) if device else 0,
        draw(_PATHS.map(b"/".join)) if symlink else b"",
        draw(_PATHS) if kind is Kind.HARD_LINK else (),
        draw(_XATTRS),
    )
    return member, data


def written(*members: tuple[Member, bytes]) -> bytes:
    out = bytearray()
    writer = TarWriter(out.extend)
    for member, data in members:
        writer.add(member, [data])
    writer.finish()
    return bytes(out)


@given(st.lists(_members(), max_size=4))
def test_what_is_written_is_read(members: list[tuple[Member, bytes]]) -> None:
    read = read_tar(written(*members))

    found = [member._replace(segments=(), offset=0) for member in read.members]
    assert found == [member for member, _ in members]
    assert read.files == [data for _, data in members]


def test_python_reads_it_too() -> None:
    member = Member((b"d" * 90, b"f" * 90), Kind.FILE, 0o4755, 5_000_000, 7, 1_500_000_000, 3)
    tar = written((member, b"abc"), (Member((b"d",), Kind.DIRECTORY), b""))

    with tarfile.open(fileobj=io.BytesIO(tar)) as found:
        first, second = found.getmembers()
        assert (first.name, first.mode, first.uid, first.gid, first.mtime, first.size) == (
            *("d" * 90 + "/" + "f" * 90, 0o4755, 5_000_000),
            *(7, 1.5, 3),
        )
        assert second.isdir()
        extracted = found.extractfile(first)
        assert extracted is not None
        assert extracted.read() == b"abc"


def test_plain_entries_need_no_records() -> None:
    tar = written((Member((b"dir", b"f"), Kind.FILE, size=1, mtime_ns=10**18), b"x"))

    assert len(tar) == 4 * 512


def test_holes_are_zeros() -> None:
    out = bytearray()
    TarWriter(out.extend).add(Member((b"f",), Kind.FILE, size=100_002), [b"x", Hole(100_000), b"y"])

    assert out[512 : 512 + 100_002] == b"x" + bytes(100_000) + b"y"


def test_data_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes of data for a file of 3"):
        written((Member((b"f",), Kind.FILE, size=3), b"xy"))
