"""What headers say, where no tool's tar in the corpus says it."""

from __future__ import annotations

import os

import pytest

from overlayfs_py.tars.members import Kind, Member, Segment
from tests.tars.making import END, GNU, V7, binary, entry, header, padded, pax, sealed
from tests.tars.reading import read_tar


def only(tar: bytes) -> Member:
    members = read_tar(tar).members
    assert len(members) == 1
    return members[0]


NAMES = {
    b"./a/b": (b"a", b"b"),
    b"/a//b/": (b"a", b"b"),
    b"a/./../b": (b"b",),
    b"a/b/../..": (),
    b"./": (),
    b"...": (b"...",),
    b"\xff\xfe": (b"\xff\xfe",),
    b"a" * 100: (b"a" * 100,),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_path_below_the_root(name: bytes) -> None:
    assert only(header(name, kind=b"5") + END).path == NAMES[name]


@pytest.mark.parametrize("kind", [b"0", b"\0", b"7"])
def test_a_file_whose_name_ends_in_a_slash_is_a_directory(kind: bytes) -> None:
    read = read_tar(entry(b"d/", b"listing", kind=kind, magic=V7) + entry(b"f") + END)

    assert [member.kind for member in read.members] == [Kind.DIRECTORY, Kind.FILE]


def test_a_prefix_comes_before_the_name() -> None:
    assert only(header(b"b", prefix=b"a") + END).path == (b"a", b"b")
    assert only(header(b"b", prefix=b"a", magic=GNU) + END).path == (b"b",)


def test_a_name_in_a_v7_header_ends_with_its_field() -> None:
    block = header(b"b", prefix=b"a", magic=V7)

    assert only(block + END).path == (b"b",)


@pytest.mark.parametrize("value", [0, 1 << 35, -1, -(1 << 40), (1 << 63) // 10**9])
def test_numbers_in_base_256(value: int) -> None:
    assert only(header(mtime=binary(value)) + END).mtime_ns == value * 10**9


TIMES = {
    b"1.5": 1_500_000_000,
    b"-1.5": -1_500_000_000,
    b"1": 1_000_000_000,
    b"1.": 1_000_000_000,
    b"0.123456789987": 123_456_789,
    b"-0.000000001": -1,
}


@pytest.mark.parametrize("text", TIMES)
def test_times_in_pax_records(text: bytes) -> None:
    assert only(pax((b"mtime", text)) + header() + END).mtime_ns == TIMES[text]


def test_records_replace_what_the_header_says() -> None:
    long = b"/".join([b"n" * 200] * 3)
    tar = pax((b"path", long), (b"uid", b"4000000"), (b"gid", b"5"), (b"size", b"3")) + entry(
        b"short", b"abc"
    )

    read = read_tar(tar)

    member = read.members[0]
    assert member.path == (b"n" * 200,) * 3
    assert (member.uid, member.gid, member.size) == (4_000_000, 5, 3)
    assert read.files == [b"abc"]


def test_records_hold_for_one_entry_and_global_ones_until_they_are_taken_back() -> None:
    tar = (
        pax((b"gid", b"7"), (b"mtime", b"9"), kind=b"g")
        + pax((b"gid", b"8"))
        + entry(b"a")
        + entry(b"b")
        + pax((b"gid", b""))
        + entry(b"c")
    )

    assert [member.gid for member in read_tar(tar).members] == [8, 7, 0]


def test_gnu_names() -> None:
    long = b"a/" * 300 + b"end"
    tar = (
        entry(b"././@LongLink", long + b"\0", kind=b"L", magic=GNU)
        + entry(b"././@LongLink", long[:-1] + b"\0", kind=b"K", magic=GNU)
        + header(b"a", kind=b"1", link=b"b", magic=GNU)
    )

    member = only(tar + END)
    assert member.path == (b"a",) * 300 + (b"end",)
    assert member.link == (b"a",) * 300 + (b"en",)


def test_devices() -> None:
    member = only(header(kind=b"4", device=b"0000010\x000000003\0") + END)

    assert member.kind is Kind.BLOCK_DEVICE
    assert member.rdev == os.makedev(8, 3)


def test_what_has_no_data_has_none_whatever_its_size_says() -> None:
    tar = header(b"l", kind=b"2", link=b"t", size=100) + entry(b"f", b"data") + END

    assert [member.kind for member in read_tar(tar).members] == [Kind.SYMLINK, Kind.FILE]


MARKS = {
    b"d/.wh.name": (Kind.WHITEOUT, (b"d", b"name")),
    b".wh.name": (Kind.WHITEOUT, (b"name",)),
    b"d/.wh..wh..opq": (Kind.OPAQUE, (b"d",)),
    b".wh..wh..opq": (Kind.OPAQUE, ()),
    b"d/.wh..hidden": (Kind.WHITEOUT, (b"d", b".hidden")),
}


@pytest.mark.parametrize("name", MARKS)
def test_marks_about_the_layers_below(name: bytes) -> None:
    member = only(entry(name, b"nobody reads this") + END)

    assert (member.kind, member.path) == MARKS[name]
    assert member.size == 0


def test_housekeeping_of_aufs_is_passed_over() -> None:
    assert only(entry(b".wh..wh.plnk", b"data") + entry(b"f") + END).path == (b"f",)


@pytest.mark.parametrize("name", [b".wh..wh.plnk/1.2", b"d/.wh..wh.orph/.wh.x"])
def test_what_aufs_keeps_for_hard_links(name: bytes) -> None:
    """It shows under no name of its own: moby#3884."""
    member = only(entry(name, b"data") + END)

    assert (member.kind, member.path) == (Kind.PRIVATE, tuple(name.split(b"/")))


def test_an_xattr_that_only_libarchive_wrote() -> None:
    records = (
        (b"LIBARCHIVE.xattr.user.a%20b", b"eA"),
        (b"LIBARCHIVE.xattr.user.twice", b"eA"),
        (b"SCHILY.xattr.user.twice", b"y"),
    )

    member = only(pax(*records) + entry(b"f") + END)

    assert member.xattrs == ((b"user.a b", b"x"), (b"user.twice", b"y"))


def test_a_sparse_map_that_goes_on_in_blocks() -> None:
    pieces = [(number * 1000, 1) for number in range(30)]
    numbers = [b"%011o\0%011o\0" % piece for piece in pieces]
    first = bytearray(header(b"f", kind=b"S", size=30, magic=GNU))
    first[386:482] = b"".join(numbers[:4])
    first[482] = 1
    first[483:495] = b"%011o\0" % 40_000
    blocks = b"".join(numbers[4:25]).ljust(504, b"\0") + b"\1" + bytes(7)
    blocks += b"".join(numbers[25:]).ljust(512, b"\0")
    read = read_tar(sealed(bytes(first)) + blocks + padded(b"x" * 30) + END)

    assert read.members[0].segments == tuple(Segment(*piece) for piece in pieces)
    assert read.members[0].size == 40_000
    assert len(read.files[0]) == 40_000


ENDS = {
    "two empty blocks": END,
    "one": END[:512],
    "none": b"",
    "more behind them": END + b"anything",
}


@pytest.mark.parametrize("end", ENDS)
def test_a_tar_ends(end: str) -> None:
    assert only(entry(b"f", b"data") + ENDS[end]).path == (b"f",)


def test_nothing_is_a_tar_of_nothing() -> None:
    assert read_tar(b"").members == []
