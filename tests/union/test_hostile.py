"""Layers that attack, or change under the mount: an error or nothing, never a way out."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.snapshot import layer_digest
from tests.support.trees import Dir, File, Symlink, build
from tests.union.refusal import refused
from tests.union.world import World

if TYPE_CHECKING:
    from pathlib import Path

    from tests.union.conftest import MakeWorld


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    build(tmp_path / "secret", {"f": File(b"secret"), "d/g": File(b"secret")})
    return tmp_path / "secret"


def test_a_link_where_a_directory_is_below_does_not_lead_out(
    make_world: MakeWorld, secret: Path
) -> None:
    world = make_world({"d": Dir()}, {"d": Symlink(os.fspath(secret))}, {"d/x": File()})

    assert world.names("d") == set()
    with refused(errno.ENOENT):
        world.unlink("d/f")


def test_changes_go_to_the_link_itself(make_world: MakeWorld, secret: Path) -> None:
    before = layer_digest(secret)
    world = make_world({"l": Symlink(os.fspath(secret / "f"))})

    world.change("l", uid=5, mtime_ns=1)
    world.set_xattr("l", b"trusted.x", b"1")
    world.link("l", "m")
    with refused(errno.EINVAL):
        world.write("l", b"x")
    world.unlink("l")

    assert layer_digest(secret) == before
    assert world.owner("m") == (5, 0)


@pytest.fixture
def fickle(tmp_path: Path) -> Path:
    """A layer that its owner changes while it is mounted."""
    build(tmp_path / "fickle", {"d/e/f": File(b"data"), "file": File(b"data")})
    return tmp_path / "fickle"


@pytest.mark.parametrize("known", [False, True], ids=["not yet seen", "seen before"])
def test_a_directory_that_becomes_a_link_does_not_lead_out(
    fickle: Path, secret: Path, tmp_path: Path, *, known: bool
) -> None:
    world = World(tmp_path / "world", fickle)
    directory = world.at("d")
    if known:
        world.names("d/e")
    (fickle / "d").rename(fickle / "moved")
    (fickle / "d").symlink_to(secret)
    world.union._state.directories.clear()

    for call in (
        lambda: world.union.names(directory),
        lambda: world.union.lookup(directory, b"g"),
        lambda: world.union.lookup(directory, b"e"),
    ):
        with pytest.raises(OSError, match=r"^\[Errno (20|40)\]"):
            call()
    world.close()


def test_a_file_that_becomes_a_fifo_does_not_block(fickle: Path, tmp_path: Path) -> None:
    world = World(tmp_path / "world", fickle)
    node = world.at("file")
    (fickle / "file").unlink()
    os.mkfifo(fickle / "file")

    # Opened at all, it has no data; and positions it has none.
    with refused(errno.ESPIPE):
        world.union.read(node, 0, 10)
    world.close()


def test_a_file_that_becomes_a_link_is_not_followed(
    fickle: Path, secret: Path, tmp_path: Path
) -> None:
    world = World(tmp_path / "world", fickle)
    node = world.at("file")
    (fickle / "file").unlink()
    (fickle / "file").symlink_to(secret / "f")

    with refused(errno.ELOOP):
        world.union.read(node, 0, 10)
    with refused(errno.ELOOP):
        world.union.write(node, 0, b"x")
    assert (secret / "f").read_bytes() == b"secret"
    assert os.listdir(world.work / "work") == ["whiteout"]
    world.close()


def test_a_metacopy_does_not_show_its_hole_as_data(make_world: MakeWorld) -> None:
    world = make_world(
        {"f": File(b"", size=100_000, xattrs={"trusted.overlay.metacopy": b""})},
        {"f": File(b"x" * 100_000)},
    )

    with refused(errno.EPERM):
        world.read("f")
    with refused(errno.EPERM):
        world.write("f", b"x")


def test_the_mode_of_what_stands_on_the_host_is_not_followed(make_world: MakeWorld) -> None:
    world = make_world({"p": Dir(mode=0), "p/f": File(b"1", mode=0)})

    world.write("p/f", b"2")

    assert stat.S_IMODE((world.upper / "p/f").stat().st_mode) == 0
    assert world.read("p/f") == b"2"
