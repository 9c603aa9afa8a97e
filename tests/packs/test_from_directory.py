"""A directory and a pack of it say the same."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.packs.writer import PackWriter
from tests.packs.layers import directory_layer, pack, tell
from tests.packs.reading import layer_of
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

_NOON_NS = 1_234_567_890_123_456_789
EVERYTHING = {
    "": Dir(mode=0o1777, uid=3, mtime_ns=_NOON_NS),
    "small": File(b"abc", mode=0o4755, uid=1000, gid=1001, mtime_ns=_NOON_NS + 1),
    "other small": File(b"x" * 300, mtime_ns=-1_500_000_000, xattrs={"user.a": b"\0b"}),
    "empty": File(),
    "dir/large": File(bytes(range(256)) * 60, xattrs={"user.a": b"\0b", "trusted.t": b""}),
    "dir/hole": File(b"head", size=100_000),
    "dir/again": HardLink("small"),
    "link": Symlink(b"/nowhere/\xff"),
    "fifo": Fifo(mode=0o620),
    "socket": Socket(),
    "tty": Device(kind=stat.S_IFCHR, major=4, minor=300),
    "disk": Device(kind=stat.S_IFBLK, major=259, minor=7),
    "gone": Whiteout(),
    "fresh": Opaque(Dir(mode=0o2750, gid=7)),
    "fresh/in it": File(b"new"),
    "n" * 255: File(b"long"),
}


def test_everything_is_kept(tmp_path: Path) -> None:
    build(tmp_path / "layer", EVERYTHING)
    made = pack(tmp_path / "layer", tmp_path / "pack")

    with directory_layer(tmp_path / "layer") as before, layer_of(made) as after:
        assert tell(after) == tell(before)


def test_a_hole_takes_no_room_and_stays_a_hole(tmp_path: Path) -> None:
    build(tmp_path / "layer", {"sparse": File(b"head", size=1 << 30)})
    made = pack(tmp_path / "layer", tmp_path / "pack")

    with layer_of(made) as layer, (tmp_path / "copy").open("w+b") as copy:
        layer.root.file(b"sparse").open_reader().copy_to(copy.fileno(), 1 << 30)
        assert os.fstat(copy.fileno()).st_size == 1 << 30
        assert os.fstat(copy.fileno()).st_blocks < 100
        assert copy.read(5) == b"head\0"
    assert made.stat().st_size < 10_000


def test_the_same_directory_makes_the_same_bytes(tmp_path: Path) -> None:
    build(tmp_path / "layer", EVERYTHING)

    first = pack(tmp_path / "layer", tmp_path / "first").read_bytes()

    assert pack(tmp_path / "layer", tmp_path / "second").read_bytes() == first


_NAMES = st.binary(min_size=1, max_size=12).filter(
    lambda name: (
        not {b"/", b"\0"} & {name[i : i + 1] for i in range(len(name))}
        and name not in (b".", b"..")
        and not name.startswith(b".wh.")
    )
)
_FILES = st.binary(max_size=9000).map(File)
_LEAVES = st.one_of(
    _FILES,
    st.builds(File, st.binary(max_size=10), size=st.integers(10, 20_000)),
    st.builds(Symlink, _NAMES),
    st.just(Whiteout()),
    st.builds(Dir, mode=st.integers(0o700, 0o777)),
)
_TREES = st.dictionaries(
    st.lists(_NAMES, min_size=1, max_size=3).map(b"/".join), _LEAVES, max_size=12
)


def _buildable(tree: dict[bytes, object]) -> dict[bytes, object]:
    """Leave out what lies below something that is no directory."""
    parents = {
        path.rsplit(b"/", depth)[0] for path in tree for depth in range(1, path.count(b"/") + 1)
    }
    return {
        path: node for path, node in tree.items() if path not in parents or isinstance(node, Dir)
    }


@given(tree=_TREES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_tree_is_kept(tree: dict[bytes, object]) -> None:
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        build(home / "layer", _buildable(tree))
        made = pack(home / "layer", home / "pack")

        with directory_layer(home / "layer") as before, layer_of(made) as after:
            assert tell(after) == tell(before)


def test_a_pack_that_finds_no_room_is_what_its_error_names(tmp_path: Path) -> None:
    """Not the file that was being packed, of which nothing is wrong."""
    build(tmp_path / "tree", {"file": File(os.urandom(1 << 20))})

    with (
        pytest.raises(OSError, match="No space left on device") as refused,
        Path("/dev/full").open("wb", buffering=0) as out,
    ):
        pack_directory(os.fsencode(tmp_path / "tree"), PackWriter(out))

    assert refused.value.filename == "/dev/full"
