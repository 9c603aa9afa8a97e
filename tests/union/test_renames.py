"""rename(2) in every combination, held against kernel overlayfs over the same layers."""

from __future__ import annotations

import errno
import itertools
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls.files import RENAME_EXCHANGE, RENAME_NOREPLACE, rename
from overlayfs_py.union.values import WhiteoutStyle
from tests.support.mounts import kernel_overlay
from tests.support.snapshot import differences, snapshot
from tests.support.trees import Dir, File, HardLink, Symlink, Whiteout, build
from tests.support.uppers import read_upper
from tests.union.refusal import refused
from tests.union.view import view

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.trees import Node
    from tests.union.conftest import MakeWorld

Part = dict[str, "Node"]

# What stands at a name: (in the layer, in the upper), names relative to it.
_THINGS: dict[str, tuple[Part, Part]] = {
    "lower file": ({"": File(b"low")}, {}),
    "upper file": ({}, {"": File(b"up")}),
    "covering file": ({"": File(b"low")}, {"": File(b"up")}),
    "lower link": ({"": Symlink("low")}, {}),
    "upper link": ({}, {"": Symlink("up")}),
    "lower dir": ({"/f": File(b"f"), "/s/g": File(b"g")}, {}),
    "upper dir": ({}, {"/h": File(b"h")}),
    "merged dir": ({"/f": File(b"f")}, {"/h": File(b"h")}),
}
_TARGETS: dict[str, tuple[Part, Part]] = {
    **_THINGS,
    "missing": ({}, {}),
    "whiteout": ({"": File(b"low")}, {"": Whiteout()}),
    "whiteout of dir": ({"/x": File(b"x")}, {"": Whiteout()}),
    "lower empty dir": ({"": Dir()}, {}),
    "upper empty dir": ({}, {"": Dir()}),
    "emptied dir": ({"/f": File(b"f")}, {"/f": Whiteout()}),
    "file over dir": ({"/x": File(b"x")}, {"": File(b"up")}),
}
_PLACES = {
    "same directory": ("m/old", "m/new"),
    "other directory": ("m/old", "n/new"),
    "upper directory": ("u/old", "m/new"),
    "into upper": ("m/old", "u/new"),
}
_FLAGS = {"replace": 0, "noreplace": RENAME_NOREPLACE, "exchange": RENAME_EXCHANGE}


def _at(name: str, part: Part) -> Part:
    return {name + below: node for below, node in part.items()}


def _layers(source: str, target: str, place: str) -> tuple[Part, Part]:
    old, new = _PLACES[place]
    lower: Part = {"m/stays": File(), "n/stays": File()}
    upper: Part = {"m": Dir(), "n": Dir(), "u": Dir()}
    for name, (below, above) in ((old, _THINGS[source]), (new, _TARGETS[target])):
        if name.startswith("u/") and (below or not above):
            # Nothing of a layer is below a directory that only the upper has.
            shown = {k: node for k, node in above.items() if node != Whiteout()}
            below, above = {}, shown or (below if not above else {})
        lower |= _at(name, below)
        upper |= _at(name, above)
    return lower, upper


def _outcome(call: Callable[[], None]) -> str:
    try:
        call()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "done"


@pytest.mark.parametrize(
    ("place", "flag"),
    # Nothing is replaced: where the names are makes no difference to that.
    [case for case in itertools.product(_PLACES, _FLAGS) if case[1] != "noreplace"]
    + [("other directory", "noreplace")],
)
def test_every_rename_does_what_the_kernel_does(
    make_world: MakeWorld, tmp_path: Path, place: str, flag: str
) -> None:
    """Result, tree, tree at the next mount, and what the upper means; all cases in one mount."""
    cases = [f"{source} to {target}" for source, target in itertools.product(_THINGS, _TARGETS)]
    lower: Part = {}
    upper: Part = {}
    for case in cases:
        below, above = _layers(*case.split(" to "), place)
        lower |= _at(f"{case}/", below)
        upper |= _at(f"{case}/", above)
    build(tmp_path / "lower", lower)
    build(tmp_path / "kernel/upper", {"": Dir()} | upper)
    old, new = _PLACES[place]

    with kernel_overlay(
        tmp_path / "kernel", [tmp_path / "lower"], upper=tmp_path / "kernel/upper"
    ) as mounted:
        root = os.fsencode(mounted.root)
        expected = {case: _kernel_rename(root, case, old, new, _FLAGS[flag]) for case in cases}
        shown = snapshot(mounted.root, check_inodes=False)
    world = make_world(tmp_path / "lower", upper=upper)
    found = {
        case: _outcome(
            lambda case=case: world.rename(f"{case}/{old}", f"{case}/{new}", _FLAGS[flag])
        )
        for case in cases
    }

    assert {case: found[case] for case in cases if found[case] != expected[case]} == {
        case: expected[case] for case in cases if found[case] != expected[case]
    }
    assert not differences(shown, view(world))
    world.reopen()
    assert not differences(shown, view(world))
    read_upper(world.upper, mtime=False)  # holds an upper to what may be in it


def _kernel_rename(root: bytes, case: str, old: str, new: str, flags: int) -> str:
    here = os.path.join(root, os.fsencode(case))
    fd = os.open(here, os.O_RDONLY)
    try:
        return _outcome(lambda: rename(fd, os.fsencode(old), fd, os.fsencode(new), flags))
    finally:
        os.close(fd)


def test_both_names_of_one_file_stay(make_world: MakeWorld) -> None:
    """rename(2): "if oldpath and newpath are existing hard links ... do nothing"."""
    world = make_world(
        {"a": File(b"1"), "b": HardLink("a")}, upper={"c": File(), "d": HardLink("c")}
    )

    world.rename("a", "b")
    world.rename("c", "d")
    world.forget()
    world.union.rename(world.union.root, b"a", world.union.root, b"b", 0)

    assert world.names() == {b"a", b"b", b"c", b"d"}
    assert world.stat("a").nlink == 2


def test_a_directory_cannot_move_into_itself(make_world: MakeWorld) -> None:
    world = make_world({"a/b/c": File()})

    with refused(errno.EINVAL):
        world.rename("a", "a/b/d")
    with refused(errno.EINVAL):
        world.rename("a", "a/b", RENAME_EXCHANGE)
    assert world.names("a/b") == {b"c"}


@pytest.mark.parametrize("kind", [File(b"x"), Dir(), Symlink("y")], ids=["file", "dir", "link"])
def test_the_number_stays(make_world: MakeWorld, kind: Node) -> None:
    world = make_world({"a": kind, "d/e": File()})
    ino = world.at("a").ino

    world.rename("a", "d/b")
    world.forget()

    assert world.at("d/b").ino == ino
    world.rename("d", "D")
    assert world.at("D/b").ino == ino


def test_what_is_below_follows(make_world: MakeWorld) -> None:
    world = make_world({"a/b/c/f": File(b"low")}, {"a/b/x": File()})
    deep = world.at("a/b/c/f")

    world.rename("a", "A")
    world.rename("A/b", "B")
    world.union.write(deep, 0, b"new")

    assert world.read("B/c/f") == b"new"
    assert world.names("B") == {b"c", b"x"}
    assert world.names("A") == set()


def test_a_replaced_file_lives_while_it_is_held(make_world: MakeWorld) -> None:
    world = make_world({"a": File(b"A"), "b": File(b"B")}, upper={"c": File(b"C")})
    lower, upper = world.at("b"), world.at("c")

    world.rename("a", "b")
    world.rename("b", "c")

    assert world.read("c") == b"A"
    assert world.union.read(lower, 0, 10) == b"B"
    assert world.union.read(upper, 0, 10) == b"C"
    assert [world.union.attributes(node).nlink for node in (lower, upper)] == [0, 0]
    world.union.write(lower, 0, b"b")
    assert world.union.read(lower, 0, 10) == b"b"


def test_a_replaced_directory_gives_its_number_to_no_other(make_world: MakeWorld) -> None:
    """The filesystem gives the next directory the inode number of the one that has gone."""
    world = make_world({"d/x": File()})
    world.unlink("d/x")
    held = world.at("d")
    world.mkdir("n")
    world.rename("n", "d")

    made = [world.mkdir(f"new{n}") for n in range(30)]

    assert held.ino not in {node.ino for node in made}
    assert len({node.ino for node in made}) == 30
    assert world.union.attributes(held).nlink == 0


@pytest.mark.parametrize("kind", [File(b"x"), Dir()], ids=["file", "dir"])
def test_aufs_whiteouts_are_left_behind(make_world: MakeWorld, kind: Node) -> None:
    world = make_world({"a": kind, "b": File()}, whiteout=WhiteoutStyle.AUFS)

    world.rename("a", "c")
    world.unlink("b")

    assert sorted(os.listdir(world.upper)) == [".wh.a", ".wh.b", "c"]
    assert world.names() == {b"c"}
    world.rename("c", "a")
    world.put("b")
    world.reopen()
    assert world.names() == {b"a", b"b"}
    assert sorted(os.listdir(world.upper)) == [".wh.c", "a", "b"][1:]
