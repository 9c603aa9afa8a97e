"""Another, empty upper under a union that is in use."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import AttributeChange
from tests.support.trees import Dir, File
from tests.union.world import ROOT, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.union.core import Node
    from overlayfs_py.union.resetting import Changed

LOWER = {
    "d": Dir(),
    "d/kept": File(b"kept"),
    "d/changed": File(b"old"),
    "d/deleted": File(b"deleted"),
    "e": Dir(),
    "e/inner": Dir(),
    "e/inner/file": File(b"inner"),
    "f": File(b"f"),
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "world", LOWER)
    yield made
    made.close()
    made.require_untouched_layers()


def reset(world: World, *kept: str, name: str = "next") -> Changed:
    fresh = world.base / name
    (fresh / "upper").mkdir(parents=True)
    (fresh / "work").mkdir()
    paths = [os.fsencode(path) for path in kept]
    return world.union.reset(os.fsencode(fresh / "upper"), os.fsencode(fresh / "work"), paths)


def content(world: World, path: str) -> bytes:
    return world.union.read(world.at(path), 0, 100)


def is_stale(world: World, node: Node) -> bool:
    try:
        return world.union.node(node.ino) is not node
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        return True


def write(world: World, path: str, data: bytes) -> Node:
    node = world.at(path)
    world.union.write(node, 0, data)
    return node


def create(world: World, path: str) -> Node:
    parent, name = world.place(path)
    return world.hold(world.union.create_file(parent, name, 0o644, ROOT)[0])


def make_directory(world: World, path: str) -> Node:
    parent, name = world.place(path)
    return world.hold(world.union.make_directory(parent, name, 0o755, ROOT)[0])


def named(changed: Changed) -> set[bytes]:
    return {name for _, name in changed.names}


def test_everything_is_as_the_layers_have_it(world: World) -> None:
    write(world, "d/changed", b"new")
    create(world, "d/made")
    world.union.unlink(*world.place("d/deleted"))

    reset(world)

    assert content(world, "d/changed") == b"old"
    assert content(world, "d/deleted") == b"deleted"
    assert world.find("d/made") is None
    assert sorted(world.union.names(world.at("d"))) == [b"changed", b"deleted", b"kept"]
    assert os.listdir(world.base / "next/upper") == []


def test_what_was_not_changed_goes_on(world: World) -> None:
    directory, file, root = world.at("d"), world.at("d/kept"), world.union.root
    inner = world.at("e/inner/file")
    write(world, "d/changed", b"new")

    reset(world)

    for node in (directory, file, inner):
        assert world.union.node(node.ino) is node
        assert not is_stale(world, node)
    assert world.at("d") is directory
    assert world.at("d/kept") is file
    assert world.union.root is root
    assert world.union.read(file, 0, 10) == b"kept"


def test_what_was_changed_is_stale_and_its_number_nobody_elses(world: World) -> None:
    changed, made = write(world, "d/changed", b"new"), create(world, "d/made")

    reset(world)

    assert is_stale(world, changed)
    assert is_stale(world, made)
    again = world.at("d/changed")
    assert again.ino != changed.ino
    assert world.at("d/changed") is again
    assert world.union.attributes(again).ino == again.ino


def test_a_number_is_free_once_nobody_refers_to_what_had_it(world: World) -> None:
    before = world.at("d/changed").ino
    write(world, "d/changed", b"new")
    reset(world)

    world.forget()

    assert world.at("d/changed").ino == before


def test_new_files_never_get_a_number_that_is_referred_to(world: World) -> None:
    stale = {create(world, f"d/made{n}").ino for n in range(50)}
    reset(world)
    for path in (world.base / "upper").rglob("made*"):
        path.unlink()  # so that the filesystem gives their numbers again

    new = {create(world, f"d/new{n}").ino for n in range(50)}
    new |= {make_directory(world, f"d/newdir{n}").ino for n in range(50)}

    assert len(new) == 100
    assert not new & stale


def test_changes_after_it_and_a_second_one(world: World) -> None:
    write(world, "d/changed", b"one")
    reset(world)
    second = write(world, "d/changed", b"two")
    assert content(world, "d/changed") == b"two"
    assert (world.base / "next/upper/d/changed").read_bytes() == b"two"
    assert (world.base / "upper/d/changed").read_bytes() == b"one"

    reset(world, name="again")

    assert is_stale(world, second)
    third = write(world, "d/changed", b"thr")
    assert len({second.ino, third.ino}) == 2
    assert content(world, "d/changed") == b"thr"


def test_a_renamed_directory_is_where_it_was(tmp_path: Path) -> None:
    with closing(World(tmp_path / "world", LOWER, redirect_dir=True)) as world:
        inner, file = world.at("e/inner"), world.at("e/inner/file")
        directory = world.at("e")
        root = world.union.root
        world.union.rename(root, b"e", root, b"g", 0)

        changed = reset(world)

        assert world.find("g") is None
        assert is_stale(world, directory)
        assert is_stale(world, inner)
        assert world.at("e").ino != directory.ino
        # The file itself has not changed, whatever led to it.
        assert world.at("e/inner/file") is file
        assert named(changed) >= {b"e", b"g"}


def test_a_deleted_file_of_a_layer_that_is_open_is_shown_again(world: World) -> None:
    file = world.at("d/kept")
    world.union.unlink(*world.place("d/kept"))
    assert world.union.attributes(file).nlink == 0

    changed = reset(world)

    assert world.at("d/kept") is file
    assert world.union.attributes(file).nlink == 1
    assert file in changed.attributes


def test_what_is_deleted_and_open_is_stale(world: World) -> None:
    made = create(world, "d/made")
    world.union.unlink(*world.place("d/made"))
    directory = make_directory(world, "x")
    world.union.remove_directory(world.union.root, b"x")

    reset(world)

    assert is_stale(world, made)
    assert is_stale(world, directory)


def test_it_says_what_has_to_be_forgotten(world: World) -> None:
    d, kept = world.at("d"), world.at("d/kept")
    changed_file = write(world, "d/changed", b"new")
    made = create(world, "d/made")
    world.union.unlink(*world.place("d/deleted"))

    changed = reset(world)

    assert {(d, b"changed"), (d, b"made"), (d, b"deleted")} <= set(changed.names)
    assert (d, b"kept") not in changed.names
    assert (world.union.root, b"d") not in changed.names
    assert {changed_file, made, d, world.union.root} <= set(changed.contents)
    assert kept not in changed.contents


def test_a_directory_that_hid_the_layers_is_another(world: World) -> None:
    world.union.unlink(*world.place("e/inner/file"))
    world.union.remove_directory(world.at("e"), b"inner")
    new = make_directory(world, "e/inner")

    reset(world)

    assert is_stale(world, new)
    assert content(world, "e/inner/file") == b"inner"


def test_places_of_mounts_stay(world: World) -> None:
    above, point = make_directory(world, "run"), make_directory(world, "run/data")
    world.union.change_attributes(point, AttributeChange(mode=0o700))
    create(world, "run/data/file")
    create(world, "run/gone")
    file = create(world, "run/socket")
    world.union.write(file, 0, b"content")

    changed = reset(world, "/run/data", "/run/socket", "/nowhere/at/all")

    for path, node in (("run", above), ("run/data", point), ("run/socket", file)):
        assert world.at(path) is node
        assert not is_stale(world, node)
    assert world.union.names(point) == []
    assert world.union.attributes(file).size == 0
    assert stat.S_IMODE(world.union.attributes(point).mode) == 0o700
    assert (world.union.root, b"run") not in changed.names
    assert (above, b"gone") in changed.names
    create(world, "run/data/new")
    assert world.union.names(point) == [b"new"]


def test_the_old_upper_is_left_whole_and_free(world: World) -> None:
    write(world, "d/changed", b"new")
    create(world, "d/made")

    reset(world)

    assert (world.base / "upper/d/made").exists()
    with closing(World(world.base / "other", LOWER, upper=world.upper)) as other:
        assert content(other, "d/changed") == b"new"


def test_an_upper_that_cannot_be_used_changes_nothing(world: World) -> None:
    made = create(world, "d/made")
    with pytest.raises(OSError, match="nowhere"):
        world.union.reset(b"/nowhere", b"/nowhere/work")

    assert world.at("d/made") is made
    assert not is_stale(world, made)
    world.union.write(made, 0, b"still")


def test_nothing_of_an_old_upper_stays_open(world: World) -> None:
    create(world, "d/made")
    create(world, "d/deleted_and_open")
    world.union.unlink(*world.place("d/deleted_and_open"))
    write(world, "d/changed", b"new")
    make_directory(world, "d/inner")
    create(world, "d/inner/file")
    world.union.read(world.at("d/inner/file"), 0, 1)
    assert _open_in(world.base / "upper")

    reset(world)

    assert not _open_in(world.base / "upper")
    assert not _open_in(world.base / "work")


def _open_in(directory: Path) -> list[str]:
    """What this process has open there, through any mount."""
    there = {path.lstat().st_ino for path in (directory, *directory.rglob("*"))}
    links = {fd: _link_of(fd) for fd in os.listdir("/proc/self/fd")}
    return [
        link
        for fd, link in links.items()
        if link and (os.fstat(int(fd)).st_ino in there or "deleted_and_open" in link)
    ]


def _link_of(fd: str) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:  # the one that lists
        return ""
