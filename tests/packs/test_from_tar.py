"""Tars become packs: what is in them, whose names win, and the tar again, bit for bit."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import stat
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.packs.from_tar import PackedTar, pack_tar
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import origin, write_tar
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.tars.compression import LayerStream
from overlayfs_py.tars.errors import BadTar, TooLarge
from overlayfs_py.tars.members import Kind
from tests.packs.contents import contents
from tests.support.trees import Dir, File, Opaque, Whiteout, build
from tests.system.processes import run
from tests.tars.corpus import MAKERS
from tests.tars.making import END, entry, header, pax
from tests.tars.reading import cut, read_tar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def pack_path(tmp_path: Path) -> Path:
    return tmp_path / "layer.pack"


def packed(path: Path, *blocks: bytes) -> PackedTar:
    with path.open("wb") as out:
        writer = PackWriter(out)
        result = pack_tar(blocks, writer)
        writer.finish()
    return result


def tar_of(path: Path) -> bytes:
    out = io.BytesIO()
    with Pack(os.fsencode(path)) as pack:
        write_tar(pack, out.write)
    return out.getvalue()


@pytest.mark.parametrize("maker", MAKERS)
def test_the_tar_comes_back_bit_for_bit(
    maker: str, tar_by: Callable[[str], bytes], pack_path: Path
) -> None:
    tar = tar_by(maker)

    result = packed(pack_path, gzip.compress(tar, 1))

    assert tar_of(pack_path) == tar
    assert result.diff_sha256 == hashlib.sha256(tar).digest()
    with Pack(os.fsencode(pack_path)) as pack:
        assert origin(pack) == (f"sha256:{result.diff_sha256.hex()}", len(tar))


def test_how_a_tar_came_does_not_show_in_its_pack(
    tar_by: Callable[[str], bytes], pack_path: Path
) -> None:
    tar = tar_by("gnu, pax")
    packed(pack_path, tar)
    plain = pack_path.read_bytes()

    packed(pack_path, *cut(gzip.compress(tar, 1), 999))

    assert pack_path.read_bytes() == plain


def test_facts_for_the_record(pack_path: Path) -> None:
    tar = entry(b"a", b"x" * 100) + header(b"b", kind=b"1", link=b"a") + END
    blob = gzip.compress(tar)

    result = packed(pack_path, blob)

    assert result.blob_sha256 == hashlib.sha256(blob).digest()
    assert (result.blob_size, result.tar_size, result.files_size) == (len(blob), len(tar), 100)
    assert result.compression.value == "gzip"


# What a layer shows for a tar: (path, type, data or target).
CASES: dict[str, tuple[bytes, dict[str, str]]] = {
    "the last of a name wins": (
        entry(b"a", b"first") + entry(b"a", b"second"),
        {"a": "second"},
    ),
    "a directory takes over a directory": (
        header(b"d/", kind=b"5") + entry(b"d/f", b"x") + header(b"d/", kind=b"5"),
        {"d": "dir", "d/f": "x"},
    ),
    "a file takes the place of a directory": (
        entry(b"d/f", b"x") + entry(b"d", b"file"),
        {"d": "file"},
    ),
    "a directory takes the place of a file": (
        entry(b"d", b"file") + header(b"d/", kind=b"5"),
        {"d": "dir"},
    ),
    "a hard link keeps what was there": (
        entry(b"a", b"first") + header(b"b", kind=b"1", link=b"/a") + entry(b"a", b"second"),
        {"a": "second", "b": "first"},
    ),
    "missing parents are made": (entry(b"a/b/c", b"x"), {"a": "dir", "a/b": "dir", "a/b/c": "x"}),
    "a link on the way is followed": (
        header(b"usr/lib/", kind=b"5")
        + header(b"lib", kind=b"2", link=b"usr/lib")
        + entry(b"lib/x", b"x"),
        {"usr": "dir", "usr/lib": "dir", "usr/lib/x": "x", "lib": "-> usr/lib"},
    ),
    "an absolute link stays in the layer": (
        header(b"etc/", kind=b"5")
        + header(b"d/l", kind=b"2", link=b"/etc")
        + entry(b"d/l/passwd", b"x"),
        {"etc": "dir", "etc/passwd": "x", "d": "dir", "d/l": "-> /etc"},
    ),
    "a link up stays in the layer": (
        header(b"d/l", kind=b"2", link=b"../../../..") + entry(b"d/l/f", b"x"),
        {"d": "dir", "d/l": "-> ../../../..", "f": "x"},
    ),
    "links that follow links": (
        header(b"r/", kind=b"5")
        + header(b"a", kind=b"2", link=b"b")
        + header(b"b", kind=b"2", link=b"r")
        + entry(b"a/f", b"x"),
        {"r": "dir", "r/f": "x", "a": "-> b", "b": "-> r"},
    ),
    "a link that was replaced is not followed": (
        header(b"l", kind=b"2", link=b"r") + header(b"l/", kind=b"5") + entry(b"l/f", b"x"),
        {"l": "dir", "l/f": "x"},
    ),
    "a link takes the place of a described directory": (
        header(b"d/", kind=b"5")
        + header(b"e/", kind=b"5")
        + entry(b"d/old", b"x")
        + header(b"d", kind=b"2", link=b"e")
        + entry(b"d/f", b"x"),
        {"d": "-> e", "e": "dir", "e/f": "x"},
    ),
    "a described directory, a file, and a directory again": (
        header(b"d/", kind=b"5")
        + header(b"d/e/", kind=b"5")
        + entry(b"d", b"file")
        + header(b"d/", kind=b"5")
        + entry(b"d/g", b"x"),
        {"d": "dir", "d/g": "x"},
    ),
    "a link that was followed and then replaced": (
        header(b"r/", kind=b"5")
        + header(b"l", kind=b"2", link=b"r")
        + entry(b"l/a", b"x")
        + header(b"l/", kind=b"5")
        + entry(b"l/b", b"y"),
        {"r": "dir", "r/a": "x", "l": "dir", "l/b": "y"},
    ),
    "a link itself is replaced": (
        header(b"r/", kind=b"5") + header(b"l", kind=b"2", link=b"r") + entry(b"l", b"x"),
        {"r": "dir", "l": "x"},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_whose_names_win(case: str, pack_path: Path) -> None:
    tar, expected = CASES[case]
    packed(pack_path, tar + END)

    assert contents(pack_path) == expected
    assert tar_of(pack_path) == tar + END


@pytest.mark.parametrize("case", CASES)
def test_umoci_sees_the_same(case: str, tmp_path: Path) -> None:
    tar, expected = CASES[case]
    layout, bundle = tmp_path / "layout", tmp_path / "bundle"
    (tmp_path / "layer.tar").write_bytes(tar + END)
    run(["umoci", "init", "--layout", layout])
    run(["umoci", "new", "--image", f"{layout}:image"])
    run(["umoci", "raw", "add-layer", "--image", f"{layout}:image", tmp_path / "layer.tar"])
    run(["umoci", "unpack", "--image", f"{layout}:image", bundle])

    found = {}
    for path in (bundle / "rootfs").rglob("*"):
        name = path.relative_to(bundle / "rootfs").as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        else:
            found[name] = "dir" if path.is_dir() else path.read_text()
    assert found == expected


def test_hard_links_to_what_aufs_kept(pack_path: Path) -> None:
    """The names are the file that lay there, which itself does not show (moby#3884)."""
    tar = (
        header(b".wh..wh.plnk/", kind=b"5")
        + entry(b".wh..wh.plnk/1.2", b"data")
        + header(b"m", kind=b"1", link=b".wh..wh.plnk/1.2")
        + header(b"d/n", kind=b"1", link=b"/.wh..wh.plnk/1.2")
        + entry(b".wh..wh.orph/3", b"nobody's")
    )
    packed(pack_path, tar + END)

    assert contents(pack_path) == {"m": "data", "d": "dir", "d/n": "data"}
    assert tar_of(pack_path) == tar + END
    with Pack(os.fsencode(pack_path)) as pack:
        number = pack.index.dirent(pack.index.find(pack.index.directory(0), b"m"))[0]
        assert pack.index.inode(number).nlink == 2


ACL = struct.Struct("<HHI")
GOOD_ACL = struct.pack("<I", 2) + b"".join(
    ACL.pack(*line)
    for line in ((1, 7, 2**32 - 1), (2, 5, 1000), (4, 5, 2**32 - 1), (16, 7, 0), (32, 0, 0))
)
XATTRS = {
    b"system.posix_acl_access": (GOOD_ACL, [b"junk", b"", GOOD_ACL[:-1], GOOD_ACL[:-8]]),
    b"system.posix_acl_default": (GOOD_ACL, [GOOD_ACL[4:], bytes(4) + GOOD_ACL[4:]]),
    b"security.capability": (b"\0\0\0\2" + bytes(16), [b"", b"\0\0\0\2", b"\0\0\0\3" + bytes(16)]),
}


@pytest.mark.parametrize("name", XATTRS)
def test_malformed_xattrs_are_dropped_with_a_word(
    name: bytes, pack_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory with such an ACL could not be entered; a program could not be run."""
    good, malformed = XATTRS[name]
    for value in (good, *malformed):
        caplog.clear()
        tar = pax((b"SCHILY.xattr." + name, value)) + header(b"d/", kind=b"5") + END
        packed(pack_path, tar)
        with Pack(os.fsencode(pack_path)) as pack:
            at = pack.index.find(pack.index.directory(0), b"d")
            kept = pack.index.xattrs(pack.index.inode(pack.index.dirent(at)[0]))
        assert kept == ({name: good} if value == good else {})
        assert tar_of(pack_path) == tar
        words = [] if value == good else [f"'d': invalid {name.decode()} dropped"]
        assert [entry.getMessage() for entry in caplog.records] == words


@pytest.mark.parametrize(
    "name", [b"com.apple.provenance", b"btrfs.compression", b"system.nfs4_acl", b"plain"]
)
def test_xattrs_of_other_systems_are_left_out(name: bytes, pack_path: Path) -> None:
    packed(pack_path, pax((b"SCHILY.xattr." + name, b"x")) + header(b"d/", kind=b"5") + END)

    with Pack(os.fsencode(pack_path)) as pack:
        at = pack.index.find(pack.index.directory(0), b"d")
        assert pack.index.xattrs(pack.index.inode(pack.index.dirent(at)[0])) == {}


def test_whiteouts_and_opaque_directories(pack_path: Path) -> None:
    tar = (
        entry(b"d/.wh.gone")
        + entry(b"d/after", b"x")
        + entry(b"d/.wh..wh..opq")
        + entry(b".wh.old")
        + header(b"whiteout", kind=b"3")
    )
    packed(pack_path, tar + END)

    assert contents(pack_path) == {
        "d": "opaque dir",
        "d/gone": "whiteout",
        "d/after": "x",
        "old": "whiteout",
        "whiteout": "whiteout",
    }


@pytest.mark.parametrize("prefix", [b"trusted.overlay.", b"user.overlay."])
def test_a_tar_cannot_mark_directories_by_xattr(prefix: bytes, pack_path: Path) -> None:
    name = prefix + b"redirect"
    tar = pax((b"SCHILY.xattr." + name, b"/etc")) + header(b"d/", kind=b"5") + END
    packed(pack_path, tar)

    with Pack(os.fsencode(pack_path)) as pack:
        xattrs = [pack.index.xattrs(pack.index.inode(number)) for number in range(2)]
    assert xattrs == [{}, {prefix + b"overlay.redirect": b"/etc"}]


REFUSED = {
    "a link to nothing": (header(b"a", kind=b"1", link=b"gone"), "not in this layer"),
    "a link to a directory": (
        header(b"d/", kind=b"5") + header(b"a", kind=b"1", link=b"d"),
        "hard link to the directory",
    ),
    "links in a circle": (
        header(b"a", kind=b"2", link=b"b") + header(b"b", kind=b"2", link=b"a") + entry(b"a/f"),
        "too many symbolic links",
    ),
    "the root by a link": (
        header(b"d/l", kind=b"2", link=b"..") + entry(b"d/l/../..", b""),
        "root",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_layer_can_be_names_the_entry(case: str, pack_path: Path) -> None:
    tar, why = REFUSED[case]

    with pytest.raises(BadTar, match=f"bad tar at byte \\d+.*{why}"):
        packed(pack_path, tar + END)


def test_a_limit_holds(pack_path: Path) -> None:
    tar = gzip.compress(entry(b"f", bytes(1 << 22)))

    with pack_path.open("wb") as out, pytest.raises(TooLarge):
        pack_tar([tar], PackWriter(out), limit=1 << 20)


def test_an_error_of_whoever_gives_the_blocks_is_raised(pack_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def] # noqa: ANN202
        yield entry(b"f", b"x")
        raise ConnectionResetError

    with pack_path.open("wb") as out, pytest.raises(ConnectionResetError):
        pack_tar(broken(), PackWriter(out))


# Without a recorded tar.


@pytest.fixture
def from_directory(tree: Path, pack_path: Path) -> Path:
    with pack_path.open("wb") as out:
        writer = PackWriter(out)
        pack_directory(os.fsencode(tree), writer)
        writer.finish()
    return pack_path


def test_a_directory_becomes_a_tar_that_says_all_of_it(
    from_directory: Path, tmp_path: Path
) -> None:
    tar = tar_of(from_directory)
    again = tmp_path / "again.pack"
    packed(again, tar)

    assert contents(again) == contents(from_directory)
    assert tar_of(from_directory) == tar
    members = read_tar(tar).members
    directories = [b"/".join(member.path) for member in members if member.kind is Kind.DIRECTORY]
    assert directories == sorted(directories)


def test_gnu_tar_unpacks_it(from_directory: Path, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tar").write_bytes(tar_of(from_directory))
    (tmp_path / "out").mkdir()
    options = ["--xattrs", "--xattrs-include=*", "-x", "-p", "--numeric-owner"]
    run(["tar", *options, "-f", tmp_path / "out.tar", "-C", tmp_path / "out"])

    run(["diff", "-r", "--no-dereference", tree / "usr", tmp_path / "out/usr"])
    status = (tmp_path / "out/usr/bin/su").stat()
    assert stat.S_IMODE(status.st_mode) == 0o4755
    assert status.st_nlink == 2
    assert os.getxattr(tmp_path / "out/home/xattrs", "user.b=c") == b"\0\xff\n"


def test_an_upper_becomes_a_layer(tmp_path: Path, pack_path: Path) -> None:
    build(tmp_path / "upper", {"d": Opaque(), "d/f": File(b"x"), "gone": Whiteout(), "e": Dir()})
    with pack_path.open("wb") as out:
        writer = PackWriter(out)
        pack_directory(os.fsencode(tmp_path / "upper"), writer)
        writer.finish()

    found = [
        (member.kind, b"/".join(member.path)) for member in read_tar(tar_of(pack_path)).members
    ]

    assert found == [
        (Kind.DIRECTORY, b""),
        (Kind.WHITEOUT, b"gone"),
        (Kind.DIRECTORY, b"d"),
        (Kind.OPAQUE, b"d"),
        (Kind.FILE, b"d/f"),
        (Kind.DIRECTORY, b"e"),
    ]


_SMALL = gzip.compress(
    entry(b"d/f", b"some data " * 100)
    + header(b"d/l", kind=b"1", link=b"d/f")
    + entry(b"g", b"more " * 50)
    + END
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_a_damaged_pack_makes_no_other_tar(pack_path: Path, data: st.DataObject) -> None:
    packed(pack_path, _SMALL)
    good = pack_path.read_bytes()
    at = data.draw(st.integers(0, len(good) - 1))
    damaged = good[:at] + bytes([good[at] ^ (1 << data.draw(st.integers(0, 7)))]) + good[at + 1 :]
    pack_path.write_bytes(damaged)

    try:
        tar = tar_of(pack_path)
    except CorruptLayer:
        return
    assert tar == b"".join(LayerStream([_SMALL]))
