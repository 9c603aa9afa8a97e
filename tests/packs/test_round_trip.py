"""A tree of the host, packed, shows what the tree showed."""

from __future__ import annotations

import io
import os
import stat
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overlayfs_py.layers.values import Marks
from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.packs.values import Hole, Metadata, PackOptions
from overlayfs_py.packs.writer import PackWriter
from tests.packs import second_reader
from tests.packs.layers import directory_layer
from tests.packs.reading import SMALL, WHITEOUT, Shown, faults, layer_of, paths_of, view, write
from tests.support.snapshot import layer_digest, snapshot
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
    from overlayfs_py.packs.layer import PackLayer
    from tests.support.snapshot import Snapshot

TIME_NS = 1_234_567_890_123_456_789
OLD_NS = -5_000_000_001
ACL = bytes.fromhex("02000000" "01000600ffffffff" "0200040001000000" "04000400ffffffff"
                    "10000600ffffffff" "20000400ffffffff")  # fmt: skip
TREE = {
    "": Dir(mode=0o1777, uid=5, gid=6, mtime_ns=TIME_NS),
    "empty": File(mtime_ns=OLD_NS),
    "file": File(b"content", mode=0o4711, uid=1000, gid=4_000_000_000, mtime_ns=TIME_NS),
    "large": File(os.urandom(70_000), mtime_ns=TIME_NS),
    "holes": File(b"at the start", size=1 << 20, mtime_ns=TIME_NS),
    "all hole": File(size=1 << 26, mtime_ns=TIME_NS),
    "xattrs": File(b"x", xattrs={"user.a": b"1", "user.empty": b"", "trusted.t": b"\0\xff"}),
    "acl": File(b"x", mode=0o664, xattrs={"system.posix_acl_access": ACL}),
    "dir/default acl": Dir(xattrs={"system.posix_acl_default": ACL}),
    "dir/link": HardLink("file"),
    "dir/deeper/link": HardLink("file"),
    "fifo": Fifo(mode=0o600, mtime_ns=TIME_NS),
    "socket": Socket(mode=0o700),
    "block": Device(kind=stat.S_IFBLK, major=259, minor=70_000),
    "char": Device(kind=stat.S_IFCHR, major=0, minor=7, mode=0o666),
    "symlink": Symlink("../" * 200 + "x", mtime_ns=TIME_NS, uid=9),
    "linked symlink": HardLink("symlink"),
    b"not \xff utf-8 \n": File(b"x"),
    "n" * 255: File(b"long"),
}


def pack(source: Path, target: Path, options: PackOptions = SMALL) -> None:
    with target.open("wb") as out:
        writer = PackWriter(out, options)
        pack_directory(os.fsencode(source), writer, keep_atimes=True)
        writer.finish()
    assert faults(target) == []


def test_everything_of_a_tree_is_kept(tmp_path: Path) -> None:
    build(tmp_path / "tree", TREE)
    expected = snapshot(tmp_path / "tree", mtime=True)
    before = layer_digest(tmp_path / "tree")

    pack(tmp_path / "tree", tmp_path / "pack")

    assert layer_digest(tmp_path / "tree") == before
    with layer_of(tmp_path / "pack") as layer:
        assert_shows(layer, expected)


def test_the_specification_is_enough_to_read_a_pack(tmp_path: Path) -> None:
    build(tmp_path / "tree", TREE | {"gone": Whiteout(), "opaque/file": File(b"x")})
    os.setxattr(tmp_path / "tree/opaque", "trusted.overlay.opaque", b"y")
    pack(tmp_path / "tree", tmp_path / "pack")

    read = second_reader.read((tmp_path / "pack").read_bytes())

    with layer_of(tmp_path / "pack") as layer:
        shown = view(layer)
    assert read.keys() == shown.keys()
    for path, item in shown.items():
        if isinstance(item, str):
            assert read[path] is None
            continue
        found, other = item.attributes, read[path]
        assert other is not None
        device = os.major(found.rdev) << 32 | os.minor(found.rdev)
        content = item.content if item.target is None else item.target
        is_device = stat.S_ISCHR(found.mode) or stat.S_ISBLK(found.mode)
        assert other == second_reader.Object(
            found.mode,
            int(item.marks is not None and item.marks.opaque),
            (found.uid, found.gid),
            found.nlink,
            divmod(found.mtime_ns, 10**9),
            divmod(found.atime_ns, 10**9),
            device if is_device else content,
            item.xattrs,
        )


def assert_shows(layer: PackLayer, expected: Snapshot) -> None:
    root = layer.root
    for path, entry in expected.items():
        names = () if path == b"." else tuple(path.split(b"/"))
        directory = root
        for name in names[:-1]:
            directory = directory.directory(name)
        item = root if not names else directory.find(names[-1])
        found = root.attributes() if not names else item
        assert stat.S_IMODE(found.mode) == entry.mode, path
        assert (found.uid, found.gid, found.mtime_ns) == (entry.uid, entry.gid, entry.mtime_ns)
        if entry.kind == "directory":
            child = directory.directory(names[-1]) if names else root
            below = {other.rpartition(b"/")[2] for other in expected if parent(other) == path}
            assert {listed.name for listed in child.entries()} == below
            xattrs = {name: child.get_xattr(name) for name in child.list_xattrs()}
        else:
            file = directory.file(names[-1])
            assert (found.rdev, found.nlink, found.size) == (entry.rdev, entry.nlink, entry.size)
            links = [b"/".join(link) for link in paths_of(layer, file)]
            assert tuple(sorted(links)) == (entry.links if entry.nlink > 1 else ())
            if entry.content is not None:
                content = file.open_reader().read(0, found.size)
                short = len(content) <= 32
                assert entry.content == (content if short else sha256(content).digest())
            if entry.target is not None:
                assert file.read_link() == entry.target
            xattrs = {name: file.get_xattr(name) for name in file.list_xattrs()}
        assert tuple(sorted(xattrs.items())) == entry.xattrs, path


def parent(path: bytes) -> bytes:
    return b"" if path == b"." else path.rpartition(b"/")[0] or b"."


def test_data_and_holes_are_where_they_were(tmp_path: Path) -> None:
    path = tmp_path / "tree" / "holes"
    path.parent.mkdir()
    with path.open("wb") as file:
        for place in (0, 300_000, 1_000_000):
            file.seek(place)
            file.write(os.urandom(5000))
        file.truncate(2_000_000)

    pack(tmp_path / "tree", tmp_path / "pack")

    with layer_of(tmp_path / "pack") as layer, path.open("rb") as file:
        reader = layer.root.file(b"holes").open_reader()
        assert reader.read(0, 3_000_000) == file.read()
        copy = os.open(tmp_path / "copy", os.O_RDWR | os.O_CREAT)
        reader.copy_to(copy, 2_000_000)
        assert (tmp_path / "copy").read_bytes() == path.read_bytes()
        for place in (0, 5000, 300_000, 999_999, 1_010_000):
            for whence in (os.SEEK_DATA, os.SEEK_HOLE):
                assert _seek(reader.seek, place, whence) == _seek(
                    lambda at, how: os.lseek(file.fileno(), at, how), place, whence
                )
        blocks = layer.root.find(b"holes").blocks
        assert blocks == path.stat().st_blocks == os.fstat(copy).st_blocks
        os.close(copy)


def _seek(seek, place: int, whence: int) -> int | None:
    try:
        return seek(place, whence)
    except OSError:
        return None


MARKED = {
    "opaque": Opaque(Dir(mtime_ns=TIME_NS)),
    "opaque/file": File(b"x"),
    "aufs opaque/.wh..wh..opq": File(),
    "aufs opaque/file": File(b"x"),
    "device": Whiteout(),
    "dir/.wh.file": File(),
    "dir/.wh.both": File(),
    "dir/both": Dir(),
    ".wh..wh.plnk": Dir(),
    "redirected": Dir(xattrs={"trusted.overlay.redirect": b"/elsewhere"}),
    "xattrs": Dir(xattrs={"trusted.overlay.opaque": b"x"}),
    "xattrs/gone": File(xattrs={"trusted.overlay.whiteout": b""}),
    "xattrs/empty": File(),
    "user's opaque": Dir(
        xattrs={"user.overlay.opaque": b"y", "user.overlay.redirect": b"/x", "user.a": b"a"}
    ),
}


def test_marks_of_every_form_become_one(tmp_path: Path) -> None:
    build(tmp_path / "tree", MARKED)

    pack(tmp_path / "tree", tmp_path / "pack")

    with layer_of(tmp_path / "pack") as layer:
        shown = view(layer)
    marks = {
        b"/".join(path): item.marks
        for path, item in shown.items()
        if isinstance(item, Shown) and item.marks not in (None, Marks(False, None))
    }
    assert marks == {
        b"opaque": Marks(opaque=True, redirect=None),
        b"aufs opaque": Marks(opaque=True, redirect=None),
        b"redirected": Marks(opaque=False, redirect=b"/elsewhere"),
    }
    gone = {b"/".join(path) for path, item in shown.items() if item == WHITEOUT}
    assert gone == {b"device/", b"dir/file/", b"dir/both/", b"xattrs/gone/"}
    assert (b"dir", b"both") in shown
    assert (b"xattrs", b"empty") in shown
    assert not any(b".wh." in name for path in shown for name in path)
    users = shown[b"user's opaque",]
    assert isinstance(users, Shown)
    assert users.xattrs == {b"user.a": b"a"}


def test_a_file_whose_data_lies_elsewhere_is_not_read_as_zeros(tmp_path: Path) -> None:
    metacopy = File(size=100, xattrs={"trusted.overlay.metacopy": b""})
    build(tmp_path / "tree", {"metacopy": metacopy})

    pack(tmp_path / "tree", tmp_path / "pack")

    with layer_of(tmp_path / "pack") as layer:
        assert layer.root.find(b"metacopy").size == 100
        with pytest.raises(PermissionError, match="another layer"):
            layer.root.file(b"metacopy").open_reader()


def test_owners_that_an_xattr_keeps_become_real(tmp_path: Path) -> None:
    override = "user.containers.override_stat"
    build(
        tmp_path / "tree",
        {
            "": Dir(xattrs={override: b"0:0:040755"}),
            "file": File(b"x", xattrs={override: b"5:6:0104755"}),
            "null": File(xattrs={override: b"0:0:020666:char-1-3"}),
        },
    )

    pack(tmp_path / "tree", tmp_path / "pack")

    with layer_of(tmp_path / "pack") as layer:
        file, null = layer.root.find(b"file"), layer.root.find(b"null")
        assert (file.uid, file.gid, file.mode) == (5, 6, stat.S_IFREG | 0o4755)
        assert (null.mode, null.rdev) == (stat.S_IFCHR | 0o666, os.makedev(1, 3))
        assert layer.root.file(b"file").list_xattrs() == []


def test_a_tree_deeper_than_a_path_may_be_long(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    fd = os.open(tmp_path / "tree", os.O_RDONLY)
    depth = 60
    for _ in range(depth):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)

    pack(tmp_path / "tree", tmp_path / "pack")

    with layer_of(tmp_path / "pack") as layer:
        directory = layer.root
        for _ in range(depth):
            directory = directory.directory(b"d" * 200)
        assert directory.find(b"file").size == 0


def test_what_cannot_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        tree.chmod(0o755)
        build(tree, {"a/b": File(b"secret", mode=0o600)})
        writer = PackWriter(io.BytesIO())
        os.seteuid(65534)
        try:
            with pytest.raises(PermissionError) as caught:
                pack_directory(os.fsencode(tree), writer)
        finally:
            os.seteuid(0)

    assert caught.value.filename == "/a/b"


def test_the_same_tree_gives_the_same_pack_whoever_read_it(tmp_path: Path) -> None:
    build(tmp_path / "tree", TREE)
    packs = []
    for atime in (1, 2):
        os.utime(tmp_path / "tree" / "file", ns=(atime, TIME_NS))
        pack_path = tmp_path / f"pack{atime}"
        with pack_path.open("wb") as out:
            writer = PackWriter(out)
            pack_directory(os.fsencode(tmp_path / "tree"), writer)
            writer.finish()
        packs.append(pack_path.read_bytes())

    assert packs[0] == packs[1]


# Packs made of anything, against what a dict would hold.

_NAMES = st.sampled_from([b"a", b"b", b"\xff", b"long" * 60])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map(tuple)
_METAS = st.builds(
    Metadata,
    st.integers(0, 0o7777),
    st.integers(0, (1 << 32) - 1),
    st.integers(0, (1 << 32) - 1),
    st.integers(-(1 << 70), 1 << 70),
    # Told as well: of a class whose defaults hypothesis does not see it makes any number up.
    st.one_of(st.none(), st.integers(-(1 << 70), 1 << 70)),
    xattrs=st.dictionaries(
        st.sampled_from([b"user.a", b"user.b", b"security.c"]), st.binary(max_size=9)
    ).map(lambda found: tuple(found.items())),
)
_DATA = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(0, 20_000).map(lambda n: bytes(range(251)) * (n // 251)),
        st.integers(0, 20_000).map(Hole),
    ),
    max_size=5,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    files=st.lists(st.tuples(_PATHS, _METAS, _DATA), max_size=12),
    options=st.builds(PackOptions, st.sampled_from([0, 3]), st.sampled_from([12, 13])),
)
def test_files_of_anything_are_what_they_were(
    tmp_path: Path,
    files: list[tuple[tuple[bytes, ...], Metadata, list[bytes | Hole]]],
    options: PackOptions,
) -> None:
    expected: dict[tuple[bytes, ...], tuple[Metadata, bytes]] = {}

    def fill(writer: PackWriter) -> None:
        for path, meta, data in files:
            writer.add_file(path, meta, data)
            for other in list(expected):
                if other[: len(path)] == path or path[: len(other)] == other:
                    del expected[other]
            whole = b"".join(
                bytes(piece.length) if isinstance(piece, Hole) else piece for piece in data
            )
            expected[path] = meta, whole

    data = write(fill, options)
    with layer_of(tmp_path / "pack", data) as layer:
        seen = {
            path: item
            for path, item in view(layer).items()
            if isinstance(item, Shown) and item.content is not None
        }
        assert {path: item.content for path, item in seen.items()} == {
            path: content for path, (_, content) in expected.items()
        }
        for path, (meta, content) in expected.items():
            found = seen[path].attributes
            assert (found.mode & 0o7777, found.uid, found.gid) == (meta.mode, meta.uid, meta.gid)
            assert (found.mtime_ns, found.size) == (meta.mtime_ns, len(content))
            assert seen[path].xattrs == dict(meta.xattrs)
    assert faults(tmp_path / "pack") == []


def test_a_large_directory_is_listed_and_searched(tmp_path: Path) -> None:
    names = [b"file number %d" % number for number in range(20_000)]
    data = write(lambda w: [w.add_file((name,), Metadata(), []) for name in names])

    with layer_of(tmp_path / "pack", data) as layer:
        assert sorted(entry.name for entry in layer.root.entries()) == sorted(names)
        assert all(layer.root.find(name).size == 0 for name in names[::50])
        assert layer.root.find(b"file number -1").value == "missing"


def test_host_and_pack_agree_as_layers(tmp_path: Path) -> None:
    """What the union asks of both is answered alike, but for numbers and times of the host."""
    build(tmp_path / "tree", TREE)
    pack(tmp_path / "tree", tmp_path / "pack")

    with directory_layer(tmp_path / "tree") as host, layer_of(tmp_path / "pack") as layer:
        for name, kind in host.root.entries():
            ours, theirs = layer.root.find(name), host.root.find(name)
            keep = {"ino", "ctime_ns", "blocks"}
            if kind == stat.S_IFDIR:
                keep |= {"size"}
            changed = {
                field for field in ours._fields if getattr(ours, field) != getattr(theirs, field)
            }
            assert changed <= keep, (name, changed)
