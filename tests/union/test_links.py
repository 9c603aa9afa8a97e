"""Files with several names, and files and directories that lost theirs."""

from __future__ import annotations

import errno
import os
import stat
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import files
from tests.support.trees import Dir, File, HardLink, Symlink, Whiteout
from tests.union.deep import dig, make_file
from tests.union.refusal import refused
from tests.union.world import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.union.conftest import MakeWorld

_LINKED = {
    "a": File(b"data"),
    "b": HardLink("a"),
    "d/c": HardLink("a"),
    "e/f/g": HardLink("a"),
}
_NAMES = ("a", "b", "d/c", "e/f/g")
_IMMUTABLE = 0x10  # FS_IMMUTABLE_FL


@pytest.mark.parametrize("known", [(), ("b",), _NAMES], ids=["none", "one", "all"])
@pytest.mark.parametrize("written", _NAMES)
def test_all_names_follow_a_copy_up(
    make_world: MakeWorld, known: tuple[str, ...], written: str
) -> None:
    world = make_world(_LINKED)
    ino = world.at("a").ino
    world.forget()
    for name in known:
        world.at(name)

    world.write(written, b"DATA")
    world.forget()

    assert [world.read(name) for name in _NAMES] == [b"DATA"] * 4
    assert {world.at(name).ino for name in _NAMES} == {ino}
    assert {world.stat(name).nlink for name in _NAMES} == {4}
    world.reopen()
    assert [world.read(name) for name in _NAMES] == [b"DATA"] * 4
    assert {world.stat(name).nlink for name in _NAMES} == {4}


@pytest.mark.parametrize("known", [(), ("a",), _NAMES], ids=["none", "one", "all"])
def test_names_across_a_renamed_directory_follow(
    make_world: MakeWorld, known: tuple[str, ...]
) -> None:
    world = make_world(_LINKED)
    for name in known:
        world.at(name)

    world.rename("e", "E")
    world.rename("E/f", "d/F")
    world.write("a", b"DATA")

    assert world.read("d/F/g") == b"DATA"
    assert world.at("d/F/g") is world.at("a")
    assert world.stat("a").nlink == 4
    world.reopen()
    assert world.read("d/F/g") == b"DATA"
    assert world.at("d/F/g") is world.at("a")


@pytest.mark.parametrize("first", ["a", "d/F/g"])
def test_names_across_a_directory_renamed_before_the_mount_follow(
    make_world: MakeWorld, first: str
) -> None:
    world = make_world(_LINKED)
    world.rename("e", "E")
    world.rename("E/f", "d/F")
    world.rename("d", "D")
    world.rename("D", "d")
    world.reopen()
    world.at(first)

    world.write("b", b"DATA")

    assert [world.read(name) for name in ("a", "d/F/g")] == [b"DATA"] * 2
    assert {world.stat(name).nlink for name in ("a", "d/F/g")} == {4}
    world.rename("a", "z")
    world.reopen()
    assert [world.read(name) for name in ("z", "b", "d/c", "d/F/g")] == [b"DATA"] * 4


def test_names_across_a_directory_that_a_layer_has_renamed_follow(make_world: MakeWorld) -> None:
    world = make_world(
        {"y": Dir(xattrs={"trusted.overlay.redirect": b"x"}), "x": Whiteout()},
        {"x": Dir(xattrs={"trusted.overlay.redirect": b"/e"}), "e": Whiteout()},
        _LINKED,
    )
    assert world.read("y/f/g") == b"data"

    world.write("a", b"DATA")

    assert world.stat("y/f/g").nlink == 4
    assert world.read("y/f/g") == b"DATA"
    world.reopen()
    assert world.read("y/f/g") == b"DATA"


def test_redirects_that_multiply_are_not_followed_for_ever(make_world: MakeWorld) -> None:
    """Eight to the power of ten paths, all of which show the file."""
    redirected = Dir(xattrs={"trusted.overlay.redirect": b"/d"})
    layer = {f"d/x{number}": redirected for number in range(8)}
    world = make_world(*[layer] * 10, {"d/f": File(b"data"), "g": HardLink("d/f")})

    world.write("d/f", b"DATA")

    assert world.read("g") == b"DATA"
    world.close()  # the invariants are about trees that can be walked


def test_a_deep_tree_costs_what_it_has_names(make_world: MakeWorld, tmp_path: Path) -> None:
    """Whoever made the layer chose its depth; a path for each name would take 4 MB here."""
    innermost = dig(tmp_path / "layer", 1_000)
    make_file(innermost, b"linked", b"data")
    os.link(b"linked", tmp_path / "layer/top", src_dir_fd=innermost)
    for _ in range(1_000):
        make_file(innermost, b"other", b"")
        above = os.open(b"..", os.O_RDONLY, dir_fd=innermost)
        os.close(innermost)
        innermost = above
    os.close(innermost)
    world = make_world(tmp_path / "layer")
    node = world.at("top")

    tracemalloc.start()
    world.write("top", b"DATA")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 3 << 20
    assert world.union.attributes(node).nlink == 2
    world.close()  # the invariants would look at every path


def test_a_deleted_name_does_not_come_back(make_world: MakeWorld) -> None:
    world = make_world(_LINKED)
    world.at("b")

    world.unlink("b")
    world.write("a", b"DATA")

    assert world.find("b") is None
    assert world.stat("d/c").nlink == 3


@pytest.mark.parametrize("held", [False, True])
def test_a_file_outlives_the_name_it_was_known_by(make_world: MakeWorld, *, held: bool) -> None:
    world = make_world(_LINKED)
    node = world.at("b")
    if held:
        world.at("d/c")

    world.unlink("b")
    world.union.write(node, 0, b"DATA")

    assert [world.read(name) for name in ("a", "d/c", "e/f/g")] == [b"DATA"] * 3
    assert world.union.attributes(node).nlink == 3


def test_an_upper_file_outlives_the_name_it_was_known_by(make_world: MakeWorld) -> None:
    world = make_world({}, upper={"a": File(b"1"), "b": HardLink("a")})
    node = world.at("a")

    world.unlink("a")
    assert world.union.attributes(node).nlink == 1
    assert world.at("b") is node
    world.union.write(node, 0, b"2")
    world.rename("b", "c")

    assert world.read("c") == b"2"
    world.unlink("c")
    assert world.union.read(node, 0, 9) == b"2"


def test_linking(make_world: MakeWorld) -> None:
    world = make_world({"low": File(b"1"), "d/gone": File()}, upper={"up": File(b"2")})
    world.unlink("d/gone")

    assert world.link("low", "d/new") is world.at("low")
    world.link("up", "d/gone")

    assert (world.stat("low").nlink, world.stat("up").nlink) == (2, 2)
    assert world.read("d/gone") == b"2"
    with refused(errno.EEXIST):
        world.link("up", "low")
    with refused(errno.EPERM):
        world.link("d", "d2")


@pytest.mark.parametrize("layer", [True, False], ids=["lower", "upper"])
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_links_of_what_is_no_regular_file(make_world: MakeWorld, kind: str, *, layer: bool) -> None:
    world = make_world({"l": Symlink("x")} if layer else {})
    if not layer:
        world.symlink(b"x", "l")
    if kind == "fifo":
        world.unlink("l")
        world.mknod("l", stat.S_IFIFO | 0o600)

    world.link("l", "m")

    assert world.at("l") is world.at("m")
    assert world.stat("m").nlink == 2


@pytest.mark.parametrize("layer", [True, False], ids=["lower", "upper"])
def test_an_unlinked_file_works_while_it_is_held(make_world: MakeWorld, *, layer: bool) -> None:
    tree = {"f": File(b"data", mode=0o640, xattrs={"user.a": b"1"})}
    world = make_world(tree) if layer else make_world({}, upper=tree)
    node, union = world.at("f"), world.union
    ino = node.ino

    world.unlink("f")

    assert world.find("f") is None
    assert union.attributes(node).nlink == 0
    assert union.read(node, 0, 10) == b"data"
    assert union.write(node, 4, b"+") == 1
    union.open_file(node, write=True)
    assert union.read(node, 0, 10) == b"data+"
    assert union.attributes(node).nlink == 0
    assert union.attributes(node).ino == ino
    assert union.get_xattr(node, b"user.a") == b"1"
    union.set_xattr(node, b"user.b", b"2")
    assert set(union.list_xattrs(node)) == {b"user.a", b"user.b"}
    assert stat.S_IMODE(union.attributes(node).mode) == 0o640
    union.sync(node, data_only=True)()
    with refused(errno.ENOENT):
        union.link(node, union.root, b"g")
    assert world.names() == set()
    assert os.listdir(world.work / "work") == ["whiteout"]


@pytest.mark.parametrize("layer", [True, False], ids=["lower", "upper"])
def test_a_removed_link_works_while_it_is_held(make_world: MakeWorld, *, layer: bool) -> None:
    tree = {"l": Symlink("target", uid=3)}
    world = make_world(tree) if layer else make_world({}, upper=tree)
    node = world.at("l")

    world.unlink("l")

    assert world.union.read_link(node) == b"target"
    assert world.union.attributes(node).uid == 3
    assert world.union.attributes(node).nlink == 0
    world.union.change_attributes(node, _chown(4))
    assert world.union.attributes(node).uid == 4


def _chown(uid: int) -> object:
    from overlayfs_py.union.values import AttributeChange

    return AttributeChange(uid=uid)


@pytest.mark.parametrize("kind", ["lower", "upper", "merged"])
def test_a_removed_directory_is_empty_while_it_is_held(make_world: MakeWorld, kind: str) -> None:
    lower = {"d/f": File()} if kind != "upper" else {}
    upper = {"d/g": File()} if kind != "lower" else {}
    world = make_world(lower, upper=upper)
    node = world.at("d")
    for name in sorted(world.names("d")):
        world.unlink(b"d/" + name)

    world.rmdir("d")

    assert world.find("d") is None
    assert world.union.attributes(node).nlink == 0
    assert world.union.names(node) == []
    assert world.union.lookup(node, b"f") is None
    for call in (
        lambda: world.union.create_file(node, b"f", 0o644, ROOT),
        lambda: world.union.make_directory(node, b"f", 0o755, ROOT),
        lambda: world.union.unlink(node, b"f"),
        lambda: world.union.rename(node, b"f", world.union.root, b"f", 0),
    ):
        with refused(errno.ENOENT):
            call()


def test_a_directory_with_whiteouts_only_is_empty(make_world: MakeWorld) -> None:
    world = make_world({"d/f": File(), "d/s/g": File()}, {"d/h": File()})
    with refused(errno.ENOTEMPTY):
        world.rmdir("d")
    world.unlink("d/f")
    world.unlink("d/h")
    world.unlink("d/s/g")
    world.rmdir("d/s")

    world.rmdir("d")
    world.mkdir("d")

    assert world.names("d") == set()
    world.reopen()
    assert world.names("d") == set()


def test_unlink_and_rmdir_tell_types_apart(make_world: MakeWorld) -> None:
    world = make_world({"f": File(), "d": Dir()})

    with refused(errno.EISDIR):
        world.unlink("d")
    with refused(errno.ENOTDIR):
        world.rmdir("f")
    for call in (world.unlink, world.rmdir):
        with refused(errno.ENOENT):
            call("missing")


def test_what_is_removed_and_made_again_is_new(make_world: MakeWorld) -> None:
    world = make_world({"f": File(b"old"), "d/x": File(b"old")})
    old = world.at("f").ino
    for _ in range(3):
        world.unlink("f")
        world.put("f", b"new")
        world.unlink("d/x") if world.find("d/x") else None
        world.rmdir("d")
        world.mkdir("d")

    assert world.read("f") == b"new"
    assert world.at("f").ino != old
    assert world.names("d") == set()
    world.reopen()
    assert world.read("f") == b"new"


def test_a_temporary_file_gets_its_name_later(make_world: MakeWorld) -> None:
    world = make_world({"d/gone": File()})
    world.unlink("d/gone")
    node = world.hold(world.union.create_temporary(world.at("d"), 0o600, ROOT))
    world.union.write(node, 0, b"data")
    assert world.union.attributes(node).nlink == 0

    world.union.link(node, world.at("d"), b"gone")

    assert world.read("d/gone") == b"data"
    assert world.stat("d/gone").nlink == 1


def test_a_file_whose_other_name_is_hidden_is_linked_again(make_world: MakeWorld) -> None:
    """Its link count says that it has a name."""
    world = make_world({"x": Symlink(".")}, {"d/c": File(b"data"), "x/a": HardLink("d/c")})
    file = world.at("d/c")
    world.unlink("d/c")
    assert world.union.attributes(file).nlink == 1

    world.union.link(file, world.union.root, b"new")

    assert world.read("new") == b"data"
    assert world.union.attributes(file).nlink == 2


@pytest.mark.parametrize("can", [True, False], ids=["nameless", "named"])
def test_a_file_whose_other_name_is_hidden_takes_that_of_a_removed_one(
    make_world: MakeWorld, *, can: bool
) -> None:
    world = make_world(
        {"a": File(b"data"), "b": HardLink("a"), "c": File(b"other")}, upper={"b": Whiteout()}
    )
    world.union._state.upper.makes_nameless = can
    file = world.at("a")
    world.unlink("a")
    world.unlink("c")

    world.union.link(file, world.union.root, b"c")

    assert world.names() == {b"c"}
    assert world.read("c") == b"data"
    assert set(os.listdir(world.work / "work")) <= {"whiteout"}


def test_a_link_that_has_no_place_is_none(make_world: MakeWorld) -> None:
    world = make_world({"a": File(b"data"), "d/b": HardLink("a")}, upper={"d": Dir()})
    directory_fd = os.open(world.upper / "d", os.O_RDONLY)
    try:
        flags = files.get_flags(directory_fd)
        files.set_flags(directory_fd, flags | _IMMUTABLE)
        with refused(errno.EPERM):
            world.write("d/b", b"DATA")
        assert world.read("a") == b"data"
        files.set_flags(directory_fd, flags)
    finally:
        os.close(directory_fd)

    assert set(os.listdir(world.work / "work")) <= {"whiteout"}
    world.write("a", b"DATA")
    assert world.read("d/b") == b"DATA"
    assert world.stat("a").nlink == 2
