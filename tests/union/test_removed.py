"""Objects that have lost their names and are in use: any number of them costs nobody anything."""

from __future__ import annotations

import errno
import os
import resource
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import Volume
from tests.support.trees import Dir, File
from tests.union.refusal import refused
from tests.union.world import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.union.conftest import MakeWorld
    from tests.union.world import World

_DESCRIPTORS = 256
_MANY = 200  # more than may be kept open, fewer than there are descriptors


@pytest.fixture(autouse=True)
def _few_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_DESCRIPTORS, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _replace(world: World, name: str) -> None:
    world.put("other")
    world.rename("other", name)


_WAYS = {"unlink": lambda world, name: world.unlink(name), "rename": _replace}


@pytest.mark.parametrize("lower", [False, True], ids=["made", "of a layer"])
@pytest.mark.parametrize("way", _WAYS.values(), ids=_WAYS)
def test_deleted_files_go_on_without_descriptors(
    make_world: MakeWorld, way: Callable[[World, str], None], *, lower: bool
) -> None:
    names = [f"f{number}" for number in range(_MANY)]
    world = make_world({name: File(name.encode()) for name in names} if lower else {"d": Dir()})
    if not lower:
        for name in names:
            world.put(name, name.encode())
    nodes = {name: world.at(name) for name in names}
    numbers = {name: node.ino for name, node in nodes.items()}

    for name in names:
        way(world, name)
        world.union.write(nodes[name], 0, b"F")

    assert _open_descriptors() < _DESCRIPTORS // 2 + 100
    for name, node in nodes.items():
        found = world.union.attributes(node)
        assert (found.ino, found.nlink) == (numbers[name], 0)
        assert world.union.read(node, 0, 9) == b"F" + name[1:].encode()
    with refused(errno.ENOENT):
        world.union.link(nodes[names[-1]], world.union.root, b"back")


def test_a_deleted_link_is_still_read(make_world: MakeWorld) -> None:
    world = make_world({"d": Dir()})
    _fill(world)
    link = world.symlink(b"target", "s")

    world.unlink("s")

    assert world.union.read_link(link) == b"target"
    assert world.union.attributes(link).nlink == 0


def test_a_file_with_another_name_is_found_by_it(make_world: MakeWorld) -> None:
    world = make_world({"d": Dir()})
    _fill(world)
    world.put("a", b"data")
    world.link("a", "b")
    world.forget()
    file = world.at("a")

    world.unlink("a")

    assert world.union.attributes(file).nlink == 1
    assert world.at("b") is file
    assert world.stat("b").nlink == 1
    world.link("b", "c")
    assert world.stat("c").nlink == 2


def test_a_file_without_a_name_may_get_one(make_world: MakeWorld) -> None:
    world = make_world({"d": Dir()})
    _fill(world)
    file = world.hold(world.union.create_temporary(world.union.root, 0o640, ROOT))
    world.union.write(file, 0, b"data")
    assert world.union.attributes(file).nlink == 0

    world.union.link(file, world.union.root, b"named")

    assert world.read("named") == b"data"
    assert (world.stat("named").nlink, world.mode("named")) == (1, 0o640)


@pytest.mark.parametrize("way", ["rmdir", "rename"])
def test_deleted_directories_go_on_without_descriptors(make_world: MakeWorld, way: str) -> None:
    world = make_world({"d": Dir()})
    nodes = [world.mkdir(f"d{number}", 0o750) for number in range(_MANY)]
    world.set_xattr(f"d{_MANY - 1}", b"user.x", b"1")

    for number in range(_MANY):
        if way == "rmdir":
            world.rmdir(f"d{number}")
        else:
            world.mkdir("other")
            world.rename("other", f"d{number}")

    assert _open_descriptors() < _DESCRIPTORS // 2 + 100
    for node in nodes:
        found = world.union.attributes(node)
        assert (found.ino, found.nlink, stat.S_IMODE(found.mode)) == (node.ino, 0, 0o750)
        assert world.union.names(node) == []
    world.union.set_xattr(nodes[-1], b"user.y", b"2")
    assert set(world.union.list_xattrs(nodes[-1])) == {b"user.x", b"user.y"}
    with refused(errno.ENOENT):
        world.union.create_file(nodes[-1], b"f", 0o644, ROOT)


def test_too_many_deleted_files_of_a_volume_are_refused(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    """Only the stage could have a name for them, and a volume has none."""
    host = tmp_path / "host"
    host.mkdir()
    world = make_world({"v": Dir()}, volumes=(Volume(os.fsencode(host), b"/v"),))
    _fill(world)
    world.put("v/f", b"data")

    with refused(errno.ENFILE):
        world.unlink("v/f")

    assert world.read("v/f") == b"data"
    world.forget()
    world.put("v/g", b"")
    world.unlink("v/g")
    assert not (host / "g").exists()


def _fill(world: World) -> None:
    """Let as many deleted files be in use as descriptors may keep."""
    for number in range(_MANY):
        world.put(f"filling{number}")
        world.unlink(f"filling{number}")


def _open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
