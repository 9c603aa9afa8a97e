"""Packs unpacked: exact as root, kept in xattrs as an ordinary user, and nothing outside."""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.layers.override_stat import parse_override
from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.packs.from_tar import pack_tar
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_directory import unpack
from overlayfs_py.packs.values import Metadata
from overlayfs_py.packs.writer import PackWriter
from tests.support.snapshot import differences, snapshot
from tests.support.trees import Device, Dir, File, Opaque, Symlink, Whiteout, build
from tests.tars.making import END, entry, header

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.to_directory import Unpacked


def pack_of(tree: Path, path: Path) -> Path:
    with path.open("wb") as out:
        writer = PackWriter(out)
        pack_directory(os.fsencode(tree), writer)
        writer.finish()
    return path


def unpacked(path: Path, target: Path, *, privileged: bool = True) -> Unpacked:
    target.mkdir()
    with Pack(os.fsencode(path)) as pack:
        return unpack(pack, os.fsencode(target), privileged=privileged)


def test_root_gets_all_of_it_back(tree: Path, tmp_path: Path) -> None:
    made = unpacked(pack_of(tree, tmp_path / "pack"), tmp_path / "out")

    assert made.lost == ()
    assert differences(snapshot(tree), snapshot(tmp_path / "out")) == []
    assert (tmp_path / "out/tmp").stat().st_mtime_ns == (tree / "tmp").stat().st_mtime_ns
    assert (tmp_path / "out/sparse").stat().st_blocks == (tree / "sparse").stat().st_blocks


def test_whiteouts_are_those_of_the_kernel(tmp_path: Path) -> None:
    build(tmp_path / "upper", {"d": Opaque(), "d/f": File(b"x"), "e/gone": Whiteout()})

    unpacked(pack_of(tmp_path / "upper", tmp_path / "pack"), tmp_path / "out")

    status = (tmp_path / "out/e/gone").lstat()
    assert (stat.S_IFMT(status.st_mode), status.st_rdev) == (stat.S_IFCHR, 0)
    assert os.getxattr(tmp_path / "out/d", "trusted.overlay.opaque") == b"y"


def test_a_directory_that_replaces_what_is_below_is_opaque(tmp_path: Path) -> None:
    tar = entry(b".wh.d") + header(b"d/", kind=b"5") + entry(b"d/.wh.x") + entry(b"d/f") + END
    with (tmp_path / "pack").open("wb") as out:
        writer = PackWriter(out)
        pack_tar([tar], writer)
        writer.finish()

    unpacked(tmp_path / "pack", tmp_path / "out")

    assert os.getxattr(tmp_path / "out/d", "trusted.overlay.opaque") == b"y"
    assert os.listdir(tmp_path / "out/d") == ["f"]  # no whiteout in an opaque directory


def test_without_privilege_xattrs_keep_what_the_inode_cannot(tmp_path: Path) -> None:
    table = {
        "su": File(b"x", mode=0o4755, uid=7, gid=8),
        "closed": Dir(mode=0o500, uid=9),
        "closed/f": File(b"y", mode=0o400),
        "null": Device(stat.S_IFCHR, 1, 3, mode=0o666),
        "link": Symlink(target="su"),
    }
    build(tmp_path / "tree", table)

    made = unpacked(
        pack_of(tmp_path / "tree", tmp_path / "pack"), tmp_path / "out", privileged=False
    )

    def override(name: str) -> tuple[int, ...]:
        path = tmp_path / "out" / name
        value = os.getxattr(path, "user.containers.override_stat")
        found = parse_override(value, path.stat())
        assert found is not None
        return tuple(found)

    assert override("su") == (7, 8, stat.S_IFREG | 0o4755, 0)
    assert override("closed") == (9, 0, stat.S_IFDIR | 0o500, 0)
    assert override("null") == (0, 0, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert stat.S_IMODE((tmp_path / "out/su").stat().st_mode) == 0o755
    assert (tmp_path / "out/closed/f").read_bytes() == b"y"
    assert (tmp_path / "out/link").readlink().name == "su"
    assert made.lost == ()


def test_a_deep_tree_is_not_walked_from_the_root_each_time(tmp_path: Path) -> None:
    """In a chain of directories, and for the names beside it: some opens a directory, not each."""
    deep = 300
    path = tmp_path / "pack"
    with path.open("wb") as out:
        writer = PackWriter(out)
        for depth in range(1, deep):
            writer.add_directory((b"d",) * depth + (b"beside",), Metadata(0o755))
        writer.finish()
    counting = True
    opens = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal opens
        if counting and event == "open":
            opens += arguments[0] in (b"d", b"beside")

    sys.addaudithook(count)  # for ever: there is no way to remove it
    unpacked(path, tmp_path / "out")
    counting = False

    assert 2 * deep < opens < 20 * deep  # from the root it would be 300 times as many


def test_what_an_ordinary_user_unpacks_is_the_users_alone(tmp_path: Path) -> None:
    """Whoever may write a file may set its xattrs, and so the owner and mode that it is to have."""
    tree = {"open": File(b"x", mode=0o666), "null": Device(stat.S_IFCHR, 1, 3, mode=0o666)}
    build(tmp_path / "tree", {**tree, "tmp": Dir(mode=0o1777)})

    unpacked(pack_of(tmp_path / "tree", tmp_path / "pack"), tmp_path / "out", privileged=False)

    modes = {path.name: path.stat().st_mode & 0o022 for path in (tmp_path / "out").iterdir()}
    assert modes == dict.fromkeys(("open", "null", "tmp"), 0)


def test_only_an_empty_directory_is_filled(tmp_path: Path) -> None:
    build(tmp_path / "tree", {"f": File(b"x")})
    path = pack_of(tmp_path / "tree", tmp_path / "pack")

    with Pack(os.fsencode(path)) as pack, pytest.raises(OSError, match="not empty"):
        unpack(pack, os.fsencode(tmp_path / "tree"), privileged=True)


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """The names are made one after the other, and a link that appears meanwhile is not followed."""
    build(tmp_path / "tree", {"d/f": File(b"x")})
    build(tmp_path / "outside", {})
    path = pack_of(tmp_path / "tree", tmp_path / "pack")
    (tmp_path / "out").mkdir()

    def swap(_: int) -> None:
        (tmp_path / "out/d/f").unlink()
        (tmp_path / "out/d").rmdir()
        (tmp_path / "out/d").symlink_to(tmp_path / "outside")

    with Pack(os.fsencode(path)) as pack, pytest.raises(OSError, match="out/d"):
        unpack(pack, os.fsencode(tmp_path / "out"), privileged=True, on_bytes=swap)

    assert os.listdir(tmp_path / "outside") == []
    assert stat.S_IMODE((tmp_path / "outside").stat().st_mode) == 0o755
