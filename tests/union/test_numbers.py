"""Inode numbers: unique, the layer's own where one filesystem makes the stack, and kept."""

from __future__ import annotations

import os
import stat
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest

from tests.support.lowers import as_packs
from tests.support.mounts import kernel_overlay
from tests.support.trees import Dir, File, HardLink, Symlink, build
from tests.union.view import walk
from tests.union.world import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.union.conftest import MakeWorld
    from tests.union.world import World

_LOWER = {
    "d/a": File(b"a"),
    "d/b": File(b"b"),
    "d/h1": File(b"h"),
    "e/h2": HardLink("d/h1"),
    "d/s": Symlink("a"),
    "d/deep/x": File(b"x"),
    "m/one": File(b"1"),
}
_LOWEST = {"m/two": File(b"2"), "d/c": File(b"c")}

_CHANGES: dict[str, Callable[[World], object]] = {
    "write": lambda world: world.write("d/a", b"A"),
    "chmod": lambda world: world.change("d/b", mode=0o600),
    "a link's owner": lambda world: world.change("d/s", uid=3),
    "rename": lambda world: world.rename("d/a", "e/new"),
    "rename a directory": lambda world: world.rename("m", "n"),
    "rename what is in a renamed directory": lambda world: [
        world.rename("m", "n"),
        world.rename("n/two", "d/two"),
    ],
    "chmod a directory": lambda world: world.change("m", mode=0o700),
    "link": lambda world: world.link("d/a", "e/link"),
    "write a hard link": lambda world: world.write("d/h1", b"H"),
    "rename a hard link": lambda world: world.rename("e/h2", "d/h3"),
    "link a hard link": lambda world: world.link("d/h1", "h4"),
    "rename a hard link over another file": lambda world: world.rename("d/h1", "d/a"),
    "exchange": lambda world: world.rename("d/h1", "e/h2", 2) or world.rename("d/a", "d/s", 2),
    "make anew": lambda world: [world.unlink("d/a"), world.put("d/a", b"new")],
}


def _numbers(world: World) -> dict[bytes, int]:
    world.forget()
    found = {path: node.ino for path, node in walk(world)}
    world.forget()
    return found


@pytest.mark.parametrize("metacopy", [False, True], ids=["", "metacopy"])
@pytest.mark.parametrize("change", _CHANGES)
def test_numbers_stay_over_mounts(make_world: MakeWorld, change: str, *, metacopy: bool) -> None:
    world = make_world(_LOWER, _LOWEST, metacopy=metacopy)
    before = _numbers(world)

    _CHANGES[change](world)
    changed = _numbers(world)
    world.reopen()

    assert _numbers(world) == changed
    kept = {path for path in before.keys() & changed.keys() if before[path] == changed[path]}
    assert len(kept) >= len(before) - 4  # what was renamed, and what came in its place


def test_numbers_do_not_depend_on_what_is_looked_at_first(make_world: MakeWorld) -> None:
    world = make_world(_LOWER, _LOWEST)
    world.write("d/h1", b"H")
    world.write("d/a", b"A")
    expected = _numbers(world)
    for path in sorted(expected, reverse=True):
        world.reopen()
        assert world.at(path).ino == expected[path]


@pytest.mark.parametrize("packs", [False, True], ids=["directories", "packs"])
def test_numbers_have_32_bits(make_world: MakeWorld, tmp_path: Path, *, packs: bool) -> None:
    layers = [tmp_path / "one", tmp_path / "two"]
    for layer, tree in zip(layers, (_LOWER, _LOWEST), strict=True):
        build(layer, {"": Dir()} | tree)
    with as_packs() if packs else nullcontext():
        world = make_world(*layers)
    world.write("d/a", b"A")
    world.put("new")

    found = _numbers(world)

    assert max(found.values()) < 1 << 32
    assert found[b"d/h1"] == found[b"e/h2"]
    assert len(set(found.values())) == len(found) - 1
    if not packs:
        assert found[b"d/b"] == (layers[0] / "d/b").stat().st_ino


def test_a_layers_own_numbers_are_shown_as_by_the_kernel(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    build(tmp_path / "layer", {"": Dir()} | _LOWER)
    world = make_world(tmp_path / "layer")
    for change in ("write", "write a hard link", "rename a directory", "link"):
        _CHANGES[change](world)
    found = _numbers(world)
    world.close()

    with kernel_overlay(
        tmp_path, [tmp_path / "layer"], upper=world.upper, work=world.work
    ) as mounted:
        assert {path: (mounted.root / os.fsdecode(path)).lstat().st_ino for path in found} == found


def test_the_kernels_copies_keep_their_numbers(make_world: MakeWorld, tmp_path: Path) -> None:
    build(tmp_path / "layer", {"": Dir()} | _LOWER)
    with kernel_overlay(tmp_path, [tmp_path / "layer"]) as mounted:
        root = mounted.root
        (root / "d/a").write_bytes(b"A")
        (root / "d/b").rename(root / "e/b")
        (root / "m").rename(root / "n")
        (root / "e/h2").write_bytes(b"H")
        os.lchown(root / "d/s", 3, 3)
        paths = [path.relative_to(root) for path in root.rglob("*")]
        expected = {os.fsencode(path): (root / path).lstat().st_ino for path in paths}
        upper, work = mounted.upper, mounted.work

    world = make_world(tmp_path / "layer", upper=upper)
    assert world.work == work
    found = _numbers(world)
    assert {path: found[path] for path in expected} == expected
    assert world.read("d/h1") == world.read("e/h2") == b"H"
    assert world.at("d/h1") is world.at("e/h2")
    assert world.stat("d/h1").nlink == 2


def test_what_an_upper_says_of_itself_makes_nothing_one(make_world: MakeWorld) -> None:
    """Two files that claim to be of one, of each other, and of what still shows."""
    world = make_world({"a": File(b"a"), "b": File(b"b"), "d/c": File(b"c"), "d/e": File(b"e")})
    for name in ("a", "b"):
        world.write(name, name.upper().encode())
    world.change("d", mode=0o700)
    origins = {name: _origin(world, name) for name in ("a", "b")}
    other = world.union.lookup(world.at("d"), b"c").lower.origin().to_bytes()
    world.close()
    cases = [(origins["a"], origins["a"]), (origins["b"], origins["a"]), (other, other)]
    for first, second in cases:
        os.setxattr(world.upper / "a", "trusted.overlay.origin", first)
        os.setxattr(world.upper / "b", "trusted.overlay.origin", second)
        for order in (("a", "b", "d/c", "d/e"), ("d/e", "d/c", "b", "a")):
            world.reopen()
            numbers = {world.at(name).ino for name in order}
            assert len(numbers) == 4
            assert [world.read(name) for name in ("a", "b", "d/c", "d/e")] == [
                b"A",
                b"B",
                b"c",
                b"e",
            ]


def _origin(world: World, name: str) -> bytes:
    return os.getxattr(world.upper / name, "trusted.overlay.origin")


def test_a_directory_without_copies_costs_no_question(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world({"d/a": File()})
    world.mkdir("new")
    world.put("new/f")
    world.forget()
    monkeypatch.setattr("overlayfs_py.union.lookup.read_origin", None)

    assert stat.S_ISREG(world.at("new/f").type)
    assert world.hold(world.union.create_temporary(world.at("new"), 0o600, ROOT)).own
