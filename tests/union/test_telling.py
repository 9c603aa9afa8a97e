"""What a listing is told of many names at once, beside what looking each of them up tells."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union.values import IdMap, IdRange
from tests.support.trees import Device, Dir, Fifo, File, HardLink, Symlink, Whiteout
from tests.union.invariants import check_telling

if TYPE_CHECKING:
    from tests.union.conftest import MakeWorld

TOP = {
    "both": Dir(),
    "both/top": File(b"top"),
    "both/hides": File(b"top"),
    "both/.wh.gone": File(),
    "both/deleted": Whiteout(),
    "only": Dir(uid=7, gid=8),
    "only/file": File(b"data", mode=0o4755, uid=5, mtime_ns=-1),
}
BOTTOM = {
    "both": Dir(),
    "both/hides": File(b"bottom"),
    "both/gone": File(b"x"),
    "both/deleted": File(b"x"),
    "both/name": File(b"one"),
    "both/other": HardLink("both/name"),
    "both/empty": File(),
    "both/link": Symlink("name"),
    "both/fifo": Fifo(),
    "both/device": Device(stat.S_IFCHR, 1, 3),
    "both/below": Dir(),
    "both/below/deep": File(b"deep"),
    "low": Dir(),
    "low/a": File(b"a"),
    "low/b": File(b"b"),
    "low/c": File(b"c"),
    "low/first": File(b"linked"),
    "low/second": HardLink("low/first"),
}


def test_layers_alone(make_world: MakeWorld) -> None:
    world = make_world(TOP, BOTTOM)

    # But for two names of one file, a device, and directories that are not in the lowest layer. A
    # pack tells of no FIFO either.
    assert check_telling(world) in (11, 12)


def test_what_the_upper_has_is_asked_of_it(make_world: MakeWorld) -> None:
    world = make_world(TOP, BOTTOM)
    world.write("low/a", b"changed")
    world.unlink("low/b")
    world.put("low/new", b"new")
    world.change("low/first", mode=0o600)
    world.rename("both/top", "low/moved")
    world.unlink("both/name")
    world.forget()

    assert check_telling(world) > 0
    world.forget()
    world.reopen()
    assert check_telling(world) > 0


def test_a_deletion_by_a_file_counts(make_world: MakeWorld) -> None:
    world = make_world(BOTTOM, upper={"low": Dir(), "low/.wh.b": File(), "low/c": Whiteout()})

    check_telling(world)
    assert world.names("low") == {b"a", b"first", b"second"}


def test_a_whiteout_that_is_an_xattr_counts(make_world: MakeWorld) -> None:
    marked = {
        "low": Dir(xattrs={"trusted.overlay.opaque": b"x"}),
        "low/a": File(xattrs={"trusted.overlay.whiteout": b""}),
        "low/d": File(),
    }
    world = make_world(marked, BOTTOM)

    told = check_telling(world)
    assert told > 0
    assert b"a" not in world.names("low")


@pytest.mark.parametrize("metacopy", [False, True])
def test_a_file_without_its_data_is_looked_up(make_world: MakeWorld, *, metacopy: bool) -> None:
    top = {"low": Dir(), "low/a": File(size=1, xattrs={"trusted.overlay.metacopy": b""})}
    world = make_world(top, BOTTOM, metacopy=metacopy)

    assert check_telling(world) > 0
    node, attributes = world.union.look(world.at("low"), b"a") or pytest.fail("it is not there")
    assert attributes.blocks == world.union.attributes(node).blocks


@pytest.mark.parametrize(
    "ids",
    [
        IdMap(uids=(IdRange(0, 100, 10),), gids=(IdRange(0, 200, 10),)),
        IdMap(squash_uid=3),
        IdMap(squash_gid=4),
    ],
    ids=["mapped", "one user", "one group"],
)
def test_owners_are_as_the_mount_shows_them(make_world: MakeWorld, ids: IdMap) -> None:
    world = make_world(TOP, BOTTOM, ids=ids)

    assert bool(check_telling(world)) == bool(ids.uids)  # one for all is shown by `look` alone


def test_what_was_told_of_is_a_file_like_any_other(make_world: MakeWorld) -> None:
    world = make_world(TOP, BOTTOM)
    directory = world.at("low")
    names = [b"a", b"b", b"c"]
    numbers = [found.ino for found in world.union.tell(directory, names, hold=True) if found]
    for number in numbers:
        world.count_hold(number)
    assert len(numbers) == 3

    assert world.union.read(world.union.node(numbers[0]), 0, 10) == b"a"
    world.write("low/b", b"B")  # by its name
    assert world.union.read(world.union.node(numbers[1]), 0, 10) == b"B"
    world.rename("low/c", "low/d")
    assert world.union.node(numbers[2]).name == b"d"
    world.rename("low", "high")
    assert world.union.read(world.union.node(numbers[0]), 0, 10) == b"a"


def test_two_names_that_lead_to_one_directory(make_world: MakeWorld) -> None:
    """Its files have one number, which only one of the names may give to a node."""
    redirected = {"one": Dir(xattrs={"trusted.overlay.redirect": b"low"})}
    world = make_world(redirected, BOTTOM)

    check_telling(world)
