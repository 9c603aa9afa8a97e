"""Large directories are read in steps: others come in between, and nothing is shown twice."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.union.world import ROOT, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.union.core import Node

# Of each layer: that many make a directory of 256 KiB on any filesystem, and a large one of a pack.
COUNT = 14_000


def fill(directory: Path, prefix: str) -> None:
    directory.mkdir(parents=True)
    first = directory / f"{prefix}0"
    first.touch()
    (directory / f"{prefix}.lone").touch()
    for number in range(1, COUNT):
        os.link(first, directory / f"{prefix}{number:020}")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in which making so many files costs nothing."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        yield Path(directory)


@pytest.fixture
def world(memory: Path) -> Iterator[World]:
    for layer, prefix in (("a", "f"), ("b", "g")):
        fill(memory / layer / "d", prefix)
    os.mknod(memory / "a/d/gone", stat.S_IFCHR)
    (memory / "b/d/gone").touch()
    (memory / "b/d/merged").mkdir()
    (memory / "a/d/merged").mkdir()
    (memory / "b/d/merged/below").touch()
    made = World(memory / "world", memory / "a", memory / "b")
    yield made
    made.close()


def large(world: World) -> Node:
    node = world.union.lookup(world.union.root, b"d")
    assert node is not None
    world.union.hold(node)
    return node


def test_a_lookup_reads_no_listing(world: World) -> None:
    """It finds what an index would, in each layer."""
    union, directory = world.union, large(world)

    merged = union.lookup(directory, b"merged")

    assert merged is not None
    assert union.names(merged) == [b"below"]
    assert union.lookup(directory, b"gone") is None
    assert union.lookup(directory, b"nothing") is None
    assert union.lookup(directory, b"g0") is not None
    assert union.lists_long(directory)  # still: nobody has read it


def test_changes_between_two_steps(world: World) -> None:
    """What is there all the time is shown once, copied up meanwhile or not."""
    union, directory = world.union, large(world)
    expected = set(union.names(directory))
    directory.lower_index = None  # type: ignore[attr-defined] - as if nobody had read it
    steps = union.naming(directory)
    taken = 0
    result: dict[bytes, None] = {}
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result = end.value
            break
        taken += 1
        if taken == 1:
            node = union.lookup(directory, b"f.lone")
            assert node is not None
            union.hold(node)
            union.open_file(node, write=True)
        if taken == 2:
            union.make_directory(directory, b"made", 0o755, ROOT)
            assert set(union.names(directory)) == expected | {b"made"}  # whole, in between

    assert taken > 2 * COUNT / 1_000
    assert set(result) - {b"made"} == expected


def test_one_name_is_enough_to_refuse_its_removal(world: World) -> None:
    steps = world.union.remove_directory(world.union.root, b"d")

    assert steps is not None
    with pytest.raises(OSError, match="not empty") as refused:
        list(steps)
    assert refused.value.errno == errno.ENOTEMPTY


def test_an_emptied_one_is_removed(memory: Path) -> None:
    """Whiteouts for all that the layer has, then none of them on the stage."""
    fill(memory / "a/d", "f")
    (memory / "upper/d").mkdir(parents=True)
    os.mknod(memory / "upper/whiteout", stat.S_IFCHR)
    for name in os.listdir(memory / "a/d"):
        os.link(memory / "upper/whiteout", memory / "upper/d" / name)
    with closing(World(memory / "world", memory / "a", upper=memory / "upper")) as world:
        union = world.union
        steps = union.remove_directory(union.root, b"d")

        assert steps is not None
        assert len(list(steps)) > COUNT / 1_000
        assert union.lookup(union.root, b"d") is None
        assert os.listdir(memory / "work/work") == ["whiteout"]


def test_an_emptied_one_is_replaced(memory: Path) -> None:
    """By a rename in steps: seen before or after, and no whiteout is left on the stage."""
    (memory / "lower/new/in").mkdir(parents=True)
    (memory / "upper/d").mkdir(parents=True)
    os.mknod(memory / "upper/whiteout", stat.S_IFCHR)
    for number in range(COUNT):
        os.link(memory / "upper/whiteout", memory / f"upper/d/{number}")
    with closing(World(memory / "world", memory / "lower", upper=memory / "upper")) as world:
        union, root = world.union, world.union.root
        large(world)
        before = union.lookup(root, b"new")
        assert before is not None
        union.hold(before)
        steps = union.rename(root, b"new", root, b"d", 0)

        assert steps is not None
        seen = [union.lookup(root, b"new") is before for _ in steps]
        renamed = seen.index(False)
        assert renamed > COUNT / 1_000  # it was looked through
        assert len(seen) - renamed > COUNT / 1_000  # and removed
        assert union.lookup(root, b"d") is before
        assert union.names(before) == [b"in"]
        assert os.listdir(memory / "work/work") == ["whiteout"]


def test_a_rename_over_a_large_one_that_shows_something_is_refused(world: World) -> None:
    union, root = world.union, world.union.root
    union.make_directory(root, b"new", 0o755, ROOT)
    steps = union.rename(root, b"new", root, b"d", 0)

    assert steps is not None
    with pytest.raises(OSError, match="not empty"):
        list(steps)
    assert union.lookup(root, b"new") is not None


def test_a_rename_whose_end_is_another_by_then_is_refused(memory: Path) -> None:
    fill(memory / "upper/d", "f")
    with closing(World(memory / "world", {}, upper=memory / "upper")) as world:
        union, root = world.union, world.union.root
        for name in (b"old", b"other"):
            union.make_directory(root, name, 0o755, ROOT)
        for name in os.listdir(memory / "upper/d"):
            os.unlink(memory / "upper/d" / name)
            os.mknod(memory / "upper/d" / name, stat.S_IFCHR)
        steps = union.rename(root, b"old", root, b"d", 0)
        assert steps is not None
        next(steps)
        world.rename("old", "other")

        with pytest.raises(OSError, match=os.strerror(errno.ENOENT)):
            list(steps)


def test_one_of_many_layers_is_large_by_all_of_them(memory: Path) -> None:
    """None of them is, and a lookup that read them all would take as long as all take."""
    layers = [memory / f"layer{number}" for number in range(20)]
    for number, layer in enumerate(layers):
        (layer / "d").mkdir(parents=True)
        for name in range(COUNT // len(layers)):
            os.mknod(layer / f"d/{number:02}-{name:020}", stat.S_IFREG)
    with closing(World(memory / "world", *layers)) as world:
        union, directory = world.union, large(world)

        assert union.lookup(directory, b"19-%020d" % 0) is not None
        assert union.lookup(directory, b"none") is None
        assert not hasattr(directory.lower_index, "reading")  # type: ignore[attr-defined]
        assert union.lists_long(directory)
        assert len(union.names(directory)) == COUNT
