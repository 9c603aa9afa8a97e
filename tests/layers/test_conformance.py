"""What the union relies on in a layer, whatever it is made of. A new kind joins `kinds.KINDS`."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.layers.ids import IdMap
from overlayfs_py.layers.values import WHITEOUT_TYPE, Absence, Attributes, Entry
from tests.layers.kinds import KINDS
from tests.support.trees import (
    Device,
    Dir,
    Fifo,
    File,
    HardLink,
    Opaque,
    Socket,
    Symlink,
    Whiteout,
    build,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.layers.interface import Layer, LayerDirectory, LayerFile

_NOON_NS = 1_234_567_890_123_456_789
_MANY = 3000
_LARGE = bytes(range(256)) * 5000
_TREE = {
    "": Dir(mode=0o1777, uid=3, gid=4, mtime_ns=_NOON_NS),
    "small": File(b"abc", mode=0o4755, uid=1000, gid=1001, mtime_ns=_NOON_NS + 1),
    "again": HardLink("small"),
    "old": File(b"x", mtime_ns=-1_500_000_001),
    "empty": File(),
    "large": File(_LARGE),
    "hole": File(b"head", size=1 << 20),
    "marked": File(b"m", xattrs={"user.a": b"\0b", "user.empty": b"", "trusted.t": b"t"}),
    "link": Symlink(b"/nowhere/\xff"),
    "fifo": Fifo(mode=0o620),
    "socket": Socket(),
    "tty": Device(kind=stat.S_IFCHR, major=4, minor=300),
    "disk": Device(kind=stat.S_IFBLK, major=259, minor=7),
    "gone": Whiteout(),
    "fresh": Opaque(Dir(mode=0o2750, gid=7)),
    "fresh/in it": File(b"new"),
    "void": Dir(),
    "deep/er": Dir(),
    "many": Dir(),
    **{f"many/{number:04}": File() for number in range(_MANY)},
    "n" * 255: File(b"long"),
    b"\xff\n \\": File(b"odd"),
}


@pytest.fixture(scope="module", params=list(KINDS))
def layer(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Layer]:
    tree = tmp_path_factory.mktemp("conformance") / "layer"
    build(tree, _TREE)
    with KINDS[request.param](tree) as opened:
        yield opened


def _attributes(directory: LayerDirectory, name: bytes) -> Attributes:
    found = directory.find(name)
    assert isinstance(found, Attributes), name
    return found


def _file(layer: Layer, name: bytes) -> LayerFile:
    return layer.root.file(name)


def test_its_root_is_a_directory_with_the_layers_attributes(layer: Layer) -> None:
    found = layer.root.attributes()

    assert found.mode == stat.S_IFDIR | 0o1777
    assert (found.uid, found.gid, found.mtime_ns) == (3, 4, _NOON_NS)


@pytest.mark.parametrize(
    ("name", "mode", "size"),
    [
        (b"small", stat.S_IFREG | 0o4755, 3),
        (b"empty", stat.S_IFREG | 0o644, 0),
        (b"hole", stat.S_IFREG | 0o644, 1 << 20),
        (b"link", stat.S_IFLNK | 0o777, len(b"/nowhere/\xff")),
        (b"fifo", stat.S_IFIFO | 0o620, 0),
        (b"socket", stat.S_IFSOCK | 0o755, 0),
        (b"n" * 255, stat.S_IFREG | 0o644, 4),
        (b"\xff\n \\", stat.S_IFREG | 0o644, 3),
    ],
)
def test_type_mode_and_size(layer: Layer, name: bytes, mode: int, size: int) -> None:
    found = _attributes(layer.root, name)

    assert (found.mode, found.size) == (mode, size)
    assert _file(layer, name).attributes() == found


def test_owner_and_times_are_exact(layer: Layer) -> None:
    found = _attributes(layer.root, b"small")

    assert (found.uid, found.gid, found.mtime_ns) == (1000, 1001, _NOON_NS + 1)
    assert _attributes(layer.root, b"old").mtime_ns == -1_500_000_001


def test_device_numbers_are_kept(layer: Layer) -> None:
    assert _attributes(layer.root, b"tty").rdev == os.makedev(4, 300)
    assert _attributes(layer.root, b"disk").rdev == os.makedev(259, 7)
    assert stat.S_ISBLK(_attributes(layer.root, b"disk").mode)


def test_names_of_one_inode_have_one_number(layer: Layer) -> None:
    first, second = _attributes(layer.root, b"small"), _attributes(layer.root, b"again")

    assert first == second
    assert first.nlink == 2
    assert first.ino != _attributes(layer.root, b"empty").ino


def test_inode_numbers_differ(layer: Layer) -> None:
    numbers = [
        _attributes(layer.root, entry.name).ino for entry in layer.root.entries() if entry.type
    ]

    assert len(numbers) - len(set(numbers)) == 1  # the hard link


def test_a_listing_has_each_name_once_with_its_type(layer: Layer) -> None:
    listed = list(layer.root.entries())

    assert len(listed) == len({entry.name for entry in listed})
    assert {(name, kind) for name, kind in listed if len(name) < 10 and name[:1] != b"\xff"} == {
        *(
            (name, stat.S_IFREG)
            for name in (b"small", b"again", b"old", b"empty", b"large", b"hole")
        ),
        (b"marked", stat.S_IFREG),
        (b"link", stat.S_IFLNK),
        (b"fifo", stat.S_IFIFO),
        (b"socket", stat.S_IFSOCK),
        (b"tty", stat.S_IFCHR),
        (b"disk", stat.S_IFBLK),
        (b"gone", WHITEOUT_TYPE),
        *((name, stat.S_IFDIR) for name in (b"fresh", b"void", b"deep", b"many")),
    }


@pytest.mark.parametrize("apart", [False, True])
def test_a_large_directory_is_listed_whole(layer: Layer, apart: bool) -> None:
    many = layer.root.directory(b"many")

    names = {entry.name for entry in many.entries(apart=apart)}

    assert names == {b"%04d" % number for number in range(_MANY)}
    assert many.length() <= 2 * _MANY


def test_others_may_list_a_directory_that_is_listed_apart(layer: Layer) -> None:
    many = layer.root.directory(b"many")
    first = many.entries(apart=True)
    seen = [next(first) for _ in range(10)]

    assert len(list(many.entries(apart=True))) == _MANY

    assert len({*seen, *first}) == _MANY


def test_an_empty_directory_lists_nothing(layer: Layer) -> None:
    void = layer.root.directory(b"void")

    assert list(void.entries()) == []
    assert void.find(b"anything") is Absence.MISSING


@pytest.mark.parametrize("name", [b"missing", b"small\0"[:5] + b"x", b"N" * 255, b"\xfe"])
def test_a_name_that_is_not_there_is_missing(layer: Layer, name: bytes) -> None:
    assert layer.root.find(name) is Absence.MISSING
    assert not layer.root.deletes(name)


def test_a_whiteout_is_told_and_not_shown(layer: Layer) -> None:
    assert Entry(b"gone", WHITEOUT_TYPE) in list(layer.root.entries())
    assert layer.root.find(b"gone") is Absence.WHITEOUT


def test_an_opaque_directory_says_so(layer: Layer) -> None:
    assert layer.root.directory(b"fresh").marks().opaque
    assert not layer.root.directory(b"void").marks().opaque
    assert layer.root.directory(b"void").marks().redirect is None


def test_directories_are_entered_by_name(layer: Layer) -> None:
    deep = _attributes(layer.root, b"deep")
    below = layer.root.directory(b"deep", deep.ino)

    assert below.attributes() == deep
    assert [entry.name for entry in below.entries()] == [b"er"]
    assert list(below.directory(b"er").entries()) == []


@pytest.mark.parametrize(
    ("offset", "size"), [(0, 10), (4090, 20), (65530, 70_000), (len(_LARGE) - 5, 99)]
)
def test_reading_returns_what_lies_there(layer: Layer, offset: int, size: int) -> None:
    reader = _file(layer, b"large").open_reader()
    try:
        assert reader.read(offset, size) == _LARGE[offset : offset + size]
        assert reader.try_read(offset, size) in {None, _LARGE[offset : offset + size]}
    finally:
        reader.close()


def test_reading_past_the_end_returns_nothing(layer: Layer) -> None:
    reader = _file(layer, b"large").open_reader()
    try:
        assert reader.read(len(_LARGE), 10) == b""
        assert reader.read(len(_LARGE) + 10_000_000, 10) == b""
    finally:
        reader.close()


def test_holes_are_found_and_read_as_zeros(layer: Layer) -> None:
    reader = _file(layer, b"hole").open_reader()
    try:
        assert reader.read(0, 8) == b"head\0\0\0\0"
        hole = reader.seek(0, os.SEEK_HOLE)
        assert 4 <= hole <= 4096
        with pytest.raises(OSError, match=os.strerror(errno.ENXIO)):
            reader.seek(hole, os.SEEK_DATA)
    finally:
        reader.close()


@pytest.mark.parametrize(
    ("name", "content"), [(b"large", _LARGE), (b"empty", b""), (b"small", b"abc")]
)
def test_copying_writes_the_same(layer: Layer, name: bytes, content: bytes, tmp_path: Path) -> None:
    reader = _file(layer, name).open_reader()
    try:
        with (tmp_path / "copy").open("w+b") as copy:
            reader.copy_to(copy.fileno(), len(content))
            assert (tmp_path / "copy").read_bytes() == content
    finally:
        reader.close()


def test_copying_keeps_holes(layer: Layer, tmp_path: Path) -> None:
    reader = _file(layer, b"hole").open_reader()
    try:
        with (tmp_path / "copy").open("w+b") as copy:
            reader.copy_to(copy.fileno(), 1 << 20)
            found = os.fstat(copy.fileno())
            assert (found.st_size, found.st_blocks <= 16) == (1 << 20, True)
            assert copy.read() == b"head".ljust(1 << 20, b"\0")
    finally:
        reader.close()


def test_a_links_target_is_bytes(layer: Layer) -> None:
    assert _file(layer, b"link").read_link() == b"/nowhere/\xff"


def test_xattrs_are_listed_and_read(layer: Layer) -> None:
    marked = _file(layer, b"marked")

    assert set(marked.list_xattrs()) == {b"user.a", b"user.empty", b"trusted.t"}
    assert [marked.get_xattr(name) for name in (b"user.a", b"user.empty", b"trusted.t")] == [
        b"\0b",
        b"",
        b"t",
    ]
    assert not marked.lacks_xattr(b"user.a")


def test_an_xattr_that_is_not_there_is_no_data(layer: Layer) -> None:
    for name in (b"user.b", b"security.capability", b"system.posix_acl_access"):
        with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
            _file(layer, b"small").get_xattr(name)


def test_an_origin_is_the_inodes_and_leads_back_to_its_number(layer: Layer) -> None:
    origin = _file(layer, b"small").origin()

    assert origin == _file(layer, b"again").origin()
    assert origin != _file(layer, b"empty").origin()
    assert layer.number_behind(origin) == _attributes(layer.root, b"small").ino
    assert layer.links_behind(origin) == 2


def test_owners_as_the_layer_has_them(layer: Layer) -> None:
    assert _file(layer, b"small").owner_behind(IdMap()) in {None, (1000, 1001)}


def test_it_lies_on_a_filesystem(layer: Layer) -> None:
    assert os.fstatvfs(layer.fd).f_bsize > 0
