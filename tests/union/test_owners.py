"""Who owns what: creation, set-group-ID, default ACLs, id maps, modes kept in xattrs."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union import acl
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import Creator, IdMap, IdRange, StackSpec
from tests.packs.layers import pack
from tests.support.trees import Device, Dir, File, Opaque, Symlink, Whiteout, build
from tests.union.refusal import refused

if TYPE_CHECKING:
    from pathlib import Path

    from tests.union.conftest import MakeWorld

_USER = Creator(1000, 1001, umask=0o022)
_OVERRIDE = "user.containers.override_stat"
_NO_ID = 0xFFFFFFFF


def _acl(*named: acl.AclEntry) -> bytes:
    return acl.build(
        [
            acl.AclEntry(1, 7, _NO_ID),
            *named,
            acl.AclEntry(4, 5, _NO_ID),
            acl.AclEntry(16, 7, _NO_ID),
            acl.AclEntry(32, 0, _NO_ID),
        ]
    )


_DEFAULT = _acl(acl.AclEntry(2, 6, 1000))


@pytest.mark.parametrize("in_layer", [True, False], ids=["layer", "upper"])
def test_a_creator_owns_what_it_makes(make_world: MakeWorld, *, in_layer: bool) -> None:
    world = make_world({"d": Dir()} if in_layer else {}, upper={} if in_layer else {"d": Dir()})

    world.mknod("d/f", stat.S_IFREG | 0o666, creator=_USER)
    world.mkdir("d/d", 0o777, _USER)
    world.symlink(b"x", "d/l", _USER)
    world.mknod("d/p", stat.S_IFIFO | 0o666, creator=_USER)
    world.mknod("d/z", stat.S_IFCHR | 0o666, os.makedev(1, 5), creator=_USER)

    assert {world.owner(f"d/{name}") for name in "fdlpz"} == {(1000, 1001)}
    assert [world.mode(f"d/{name}") for name in "fdpz"] == [0o644, 0o755, 0o644, 0o644]
    assert world.stat("d/z").rdev == os.makedev(1, 5)


@pytest.mark.parametrize("in_layer", [True, False], ids=["layer", "upper"])
def test_a_set_group_id_directory_hands_its_group_on(
    make_world: MakeWorld, *, in_layer: bool
) -> None:
    tree = {"d": Dir(mode=0o2775, gid=50)}
    world = make_world(tree) if in_layer else make_world({}, upper=tree)

    world.mknod("d/f", stat.S_IFREG | 0o666, creator=_USER)
    world.mkdir("d/sub", 0o777, _USER)

    assert world.owner("d/f") == (1000, 50)
    assert world.owner("d/sub") == (1000, 50)
    assert world.mode("d/sub") == 0o2755
    assert world.mode("d/f") == 0o644


def test_a_default_acl_takes_the_umasks_place(make_world: MakeWorld) -> None:
    world = make_world({"d": Dir(xattrs={"system.posix_acl_default": _DEFAULT})})

    world.mknod("d/f", stat.S_IFREG | 0o666, creator=_USER)
    world.mkdir("d/sub", 0o777, _USER)

    assert world.mode("d/f") == 0o660
    assert acl.AclEntry(2, 6, 1000) in acl.parse(world.xattrs("d/f")[acl.ACCESS])
    assert world.xattrs("d/sub")[acl.DEFAULT] == _DEFAULT
    world.union.remove_xattr(world.at("d"), acl.DEFAULT)
    world.mknod("d/g", stat.S_IFREG | 0o666, creator=_USER)
    assert world.mode("d/g") == 0o644
    assert acl.ACCESS not in world.xattrs("d/g")


def test_a_device_that_means_a_deletion_cannot_be_made(make_world: MakeWorld) -> None:
    world = make_world({})

    with refused(errno.EPERM):
        world.mknod("w", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    assert os.listdir(world.upper) == []


def test_ids_are_mapped(make_world: MakeWorld) -> None:
    ids = IdMap(uids=(IdRange(100_000, 0, 1000),), gids=(IdRange(200_000, 0, 1000),))
    named = _acl(acl.AclEntry(2, 6, 100_005))
    world = make_world(
        {"f": File(uid=100_001, gid=200_002, xattrs={"system.posix_acl_access": named})}
        | {"stranger": File(uid=5, gid=5)},
        ids=ids,
    )

    assert world.owner("f") == (1, 2)
    assert acl.AclEntry(2, 6, 5) in acl.parse(world.xattrs("f")[acl.ACCESS])
    assert world.owner("stranger") == (65534, 65534)
    world.change("f", uid=7, gid=8)
    world.set_xattr("f", acl.ACCESS, _acl(acl.AclEntry(2, 6, 9)))
    world.mknod("made", stat.S_IFREG | 0o600, creator=Creator(3, 4))

    on_disk = os.stat(world.upper / "f")
    assert (on_disk.st_uid, on_disk.st_gid) == (100_007, 200_008)
    assert acl.AclEntry(2, 6, 100_009) in acl.parse(os.getxattr(world.upper / "f", acl.ACCESS))
    assert os.stat(world.upper / "made").st_uid == 100_003
    assert world.owner("made") == (3, 4)
    world.reopen()
    assert world.owner("f") == (7, 8)


@pytest.mark.parametrize("value", [b"\x02\0\0", b"garbage!", b"\x01\0\0\0"])
@pytest.mark.parametrize("mapped", [False, True])
def test_an_acl_that_is_none_is_refused(
    make_world: MakeWorld, value: bytes, *, mapped: bool
) -> None:
    ids = IdMap(uids=(IdRange(0, 0, 100_000),)) if mapped else IdMap()
    world = make_world({"f": File()}, ids=ids)

    with pytest.raises(OSError, match=r"^\[Errno (22|95)\]"):
        world.set_xattr("f", acl.ACCESS, value)


@pytest.mark.parametrize("kept_in_xattrs", [False, True], ids=["inodes", "xattrs"])
def test_an_owner_that_no_range_holds_stays_on_disk(
    make_world: MakeWorld, *, kept_in_xattrs: bool
) -> None:
    """Shown as nobody, whom the ranges do hold: its files must not become his."""
    ids = IdMap(uids=(IdRange(100_000, 0, 65_536),), gids=(IdRange(100_000, 0, 65_536),))
    if kept_in_xattrs:
        root = Dir(xattrs={_OVERRIDE: b"0:0:0755:dir"})
        layer = {"": root, "f": File(b"1", xattrs={_OVERRIDE: b"5:6:0644:file"})}
    else:
        layer = {"f": File(b"1", uid=5, gid=6), "d": Dir(uid=5, gid=6), "l": Symlink("x", uid=5)}
    world = make_world(layer, ids=ids, layer_overrides=True)
    assert world.owner("f") == (65534, 65534)

    for name in layer:
        if name:
            world.rename(name, f"{name}-moved")
    world.change("", mode=0o2775)
    os.chown(world.upper, 5, 6)
    world.put("new")

    assert (world.upper / "new").stat().st_gid == 6
    owners = {(world.upper / f"{name}-moved").lstat().st_uid for name in layer if name}
    assert owners == {5}
    assert world.owner("f-moved") == (65534, 65534)


def test_squashing_changes_what_is_shown_alone(make_world: MakeWorld) -> None:
    world = make_world({"f": File(uid=5, gid=6)}, ids=IdMap(squash_uid=0, squash_gid=0))

    assert world.owner("f") == (0, 0)
    world.write("f", b"x")
    assert world.owner("f") == (0, 0)
    assert os.stat(world.upper / "f").st_uid == 5


def test_modes_kept_in_xattrs(make_world: MakeWorld) -> None:
    world = make_world({"low": File(b"1", mode=0o755, uid=5)}, xattr_permissions=2)

    world.mknod("f", stat.S_IFREG | 0o666, creator=_USER)
    world.mkdir("d", 0o2770, _USER)
    world.mknod("dev", stat.S_IFBLK | 0o640, os.makedev(8, 1), creator=_USER)
    world.mknod("p", stat.S_IFIFO | 0o622)
    world.symlink(b"target", "l")
    world.change("f", uid=3, gid=4)
    world.change("f", mode=0o4755)
    world.change("l", uid=9, gid=9)  # cannot be kept, and must not fail
    world.write("low", b"2")
    world.change("low", uid=0, mode=0o600)

    expected = {
        "f": (3, 4, stat.S_IFREG | 0o4755),
        "d": (1000, 1001, stat.S_IFDIR | 0o2750),
        "dev": (1000, 1001, stat.S_IFBLK | 0o640),
        "p": (0, 0, stat.S_IFIFO | 0o622),
        "low": (0, 0, stat.S_IFREG | 0o600),
    }
    for _ in range(2):
        for name, (uid, gid, mode) in expected.items():
            found = world.stat(name)
            assert (found.uid, found.gid, found.mode) == (uid, gid, mode), name
        assert world.stat("dev").rdev == os.makedev(8, 1)
        assert world.read_link("l") == b"target"
        assert world.read("low") == b"2"
        assert world.xattrs("f") == {}
        world.reopen()
    real = os.lstat(world.upper / "f")
    assert (real.st_uid, stat.S_IMODE(real.st_mode)) == (0, 0o600)
    assert os.getxattr(world.upper / "f", _OVERRIDE) == b"3:4:04755:file"
    assert stat.S_ISREG(os.lstat(world.upper / "dev").st_mode)


def test_an_upper_with_modes_in_xattrs_becomes_a_layer(make_world: MakeWorld) -> None:
    first = make_world({}, xattr_permissions=2)
    first.mknod("f", stat.S_IFREG | 0o4711, creator=Creator(7, 8))
    first.close()

    second = make_world(first.upper, layer_overrides=True)

    assert second.owner("f") == (7, 8)
    assert second.mode("f") == 0o4711


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b":::",
        b"x:y:z",
        b"1:2",
        b"0:0:0755:char-1",
        b"0:0:0755:char-99999999999999999999-1",
        b"99999999999999999999:0:0755",
        b"-1:-1:0755",
        b"0:0:-7",
        b"0:0:" + b"7" * 3000,
        b"1" * 3000 + b":0:0755",
        b"0:0:0755:nothing",
        b"\xff\xfe",
        b"0:0:0755:file:more",
    ],
)
def test_garbage_in_place_of_a_mode_counts_for_nothing(make_world: MakeWorld, value: bytes) -> None:
    world = make_world(
        {
            "": Dir(xattrs={_OVERRIDE: b"0:0:0755:dir"}),
            "f": File(b"data", uid=5, mode=0o640, xattrs={_OVERRIDE: value}),
        },
        layer_overrides=True,
    )

    found = world.stat("f")

    assert stat.S_ISREG(found.mode)
    assert 0 <= found.uid < 1 << 32
    assert 0 <= found.rdev < 1 << 64
    assert world.read("f") == b"data"
    world.change("f", mode=0o600)
    assert world.mode("f") == 0o600


@pytest.mark.parametrize("claim", [b"dir", b"symlink"])
def test_a_file_cannot_pass_for_what_it_cannot_be(make_world: MakeWorld, claim: bytes) -> None:
    world = make_world(
        {
            "": Dir(xattrs={_OVERRIDE: b"0:0:0755:dir"}),
            "f": File(b"data", xattrs={_OVERRIDE: b"1:2:0755:" + claim}),
            "d": Dir(xattrs={_OVERRIDE: b"1:2:0755:file"}),
            "d/x": File(),
        },
        layer_overrides=True,
    )

    assert world.read("f") == b"data"
    assert world.owner("f") == (1, 2)
    assert world.names("d") == {b"x"}
    assert world.names() == {b"f", b"d"}


def test_a_deletion_kept_in_an_xattr_is_one(make_world: MakeWorld) -> None:
    """Shown as a device, it would become a whiteout at the first change of it."""
    layer = {
        "": Dir(xattrs={_OVERRIDE: b"0:0:0755:dir"}),
        "f": File(xattrs={_OVERRIDE: b"0:0:0600:char-0-0"}),
        "z": File(xattrs={_OVERRIDE: b"0:0:0600:char-1-5"}),
    }
    world = make_world(layer, {"f": File(b"below")}, layer_overrides=True)

    assert world.names() == {b"z"}
    assert world.find("f") is None


def test_an_override_that_nobody_asked_for_is_not_heeded(make_world: MakeWorld) -> None:
    world = make_world(
        {
            "": Dir(uid=1000, xattrs={_OVERRIDE: b"0:0:0755:dir"}),
            "f": File(b"data", uid=1000, mode=0o755, xattrs={_OVERRIDE: b"0:0:04755:file"}),
        }
    )

    assert world.owner("f") == (1000, 0)
    assert world.mode("f") == 0o755


_POWERS = {
    "set-user-ID root": (b"0:0:04755:file", stat.S_IFREG | 0o755),
    "set-group-ID root": (b"0:0:02755:file", stat.S_IFREG | 0o755),
    "a device": (b"0:0:0666:block-8-0", stat.S_IFREG | 0o666),
    "nothing but an owner": (b"0:0:0640:file", stat.S_IFREG | 0o640),
}


@pytest.mark.parametrize(("uid", "mode"), [(1000, 0o755), (0, 0o777), (0, 0o775)])
@pytest.mark.parametrize("claim", _POWERS)
def test_an_override_gives_no_power_that_another_may_have_claimed(
    make_world: MakeWorld, claim: str, uid: int, mode: int
) -> None:
    """Though it is asked for: the xattr can be set by whoever may write the file."""
    value, expected = _POWERS[claim]
    world = make_world(
        {
            "": Dir(xattrs={_OVERRIDE: b"0:0:0755:dir"}),
            "f": File(uid=uid, gid=uid, mode=mode, xattrs={_OVERRIDE: value}),
            "root's": File(xattrs={_OVERRIDE: value}),
        },
        layer_overrides=True,
    )

    found = world.stat("f")
    assert (found.uid, found.mode, found.rdev) == (0, expected, 0)
    assert world.stat("root's").mode != expected or claim == "nothing but an owner"


def test_an_override_that_a_user_sets_lies_escaped(make_world: MakeWorld) -> None:
    """For a store inside of the mount; the upper may be a layer of a mount that heeds it."""
    world = make_world({"f": File()}, {}, xattr_permissions=0)
    world.set_xattr("f", _OVERRIDE.encode(), b"0:0:04755:file")
    world.set_xattr("f", b"user.containers.overlay.override_stat", b"nested")

    for _ in range(2):
        assert world.xattrs("f") == {
            _OVERRIDE.encode(): b"0:0:04755:file",
            b"user.containers.overlay.override_stat": b"nested",
        }
        world.reopen()
    assert set(os.listxattr(world.upper / "f")) == {
        "trusted.overlay.origin",
        "user.containers.overlay.override_stat",
        "user.containers.overlay.overlay.override_stat",
    }
    world.union.remove_xattr(world.at("f"), _OVERRIDE.encode())
    with refused(errno.ENODATA):
        world.union.get_xattr(world.at("f"), _OVERRIDE.encode())


def test_marks_of_the_upper_are_hidden_and_a_users_own_are_kept(make_world: MakeWorld) -> None:
    world = make_world({"d/x": File(), "f": File()}, {"d/y": File()})
    world.rename("d", "D")
    world.set_xattr("f", b"trusted.overlay.opaque", b"y")
    world.set_xattr("f", b"user.overlay.redirect", b"/x")
    world.set_xattr("D", b"trusted.overlay.opaque", b"y")

    expected = {b"trusted.overlay.opaque": b"y", b"user.overlay.redirect": b"/x"}
    for _ in range(2):
        assert world.xattrs("f") == expected
        assert world.xattrs("D") == {b"trusted.overlay.opaque": b"y"}
        assert world.names("D") == {b"x", b"y"}
        world.reopen()
    assert "trusted.overlay.overlay.opaque" in os.listxattr(world.upper / "f")
    world.union.remove_xattr(world.at("f"), b"user.overlay.redirect")
    with refused(errno.ENODATA):
        world.union.remove_xattr(world.at("f"), b"user.overlay.redirect")


def test_the_kinds_of_object_are_as_expected(make_world: MakeWorld) -> None:
    world = make_world(
        {"c": Device(stat.S_IFCHR, 1, 3, mode=0o666), "l": Symlink("x", uid=4), "o": Opaque()}
    )

    assert world.stat("c").rdev == os.makedev(1, 3)
    assert world.owner("l") == (4, 0)
    assert world.xattrs("o") == {}


@pytest.mark.parametrize(
    ("uid", "mode", "powerful"), [(0, 0o644, True), (1000, 0o644, False), (0, 0o664, False)]
)
def test_a_pack_that_another_may_write_gives_no_power(
    tmp_path: Path, uid: int, mode: int, *, powerful: bool
) -> None:
    """Set-id bits, devices and redirects in it are what its owner says, as an xattr would be."""
    tree = {
        "su": File(b"x", mode=0o4755),
        "disk": Device(stat.S_IFBLK, 8, 0, mode=0o666),
        "x": Dir(xattrs={"trusted.overlay.redirect": b"/secret"}),
        "dir": Dir(mode=0o2755),
        "gone": Whiteout(),
    }
    build(tmp_path / "tree", tree)
    build(tmp_path / "below", {"secret/k": File(b"SECRET"), "gone": File()})
    packed = pack(tmp_path / "tree", tmp_path / "a.pack")
    os.chown(packed, uid, 0)
    packed.chmod(mode)

    with Union(StackSpec((os.fsencode(packed), os.fsencode(tmp_path / "below")))) as union:
        found = {
            name: node
            for name in union.names(union.root)
            if (node := union.lookup(union.root, name))
        }
        modes = {name: union.attributes(node).mode for name, node in found.items()}
        merged = union.names(found[b"x"])

    assert set(modes) == {b"su", b"disk", b"x", b"dir", b"secret"}
    assert modes[b"dir"] == stat.S_IFDIR | 0o2755
    assert modes[b"su"] == stat.S_IFREG | (0o4755 if powerful else 0o755)
    assert modes[b"disk"] == (stat.S_IFBLK if powerful else stat.S_IFREG) | 0o666
    assert merged == ([b"k"] if powerful else [])


def test_the_stage_is_nobody_elses(make_world: MakeWorld, tmp_path: Path) -> None:
    """Whoever owns the workdir could else exchange what is about to get its owner there."""
    first = make_world({"f": File(b"f")}, {})
    first.close()
    stage = first.work / "work"
    for uid, mode in ((1000, 0o700), (0, 0o777)):
        os.chown(stage, uid, uid)
        stage.chmod(mode)
        (stage / "theirs").touch()
        first.reopen()
        first.write("f", b"more")
        status = stage.stat()
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (0, 0o700)
        assert "theirs" not in os.listdir(stage)
        first.close()


@pytest.mark.parametrize("change", ["read", "copy up"])
def test_what_another_user_puts_into_a_layer_is_not_taken_for_what_was_there(
    make_world: MakeWorld, change: str
) -> None:
    """The kernel goes by the owner and mode of what it knows: root's files in there stay closed."""
    own = {"m": File(b"mine", uid=1000), "d/m": File(b"mine", uid=1000)}
    closed = {"secret": File(b"SECRET", mode=0o600), "p": Dir(mode=0o700), "p/m": File(b"SECRET")}
    world = make_world({"": Dir(uid=1000), **own, **closed})
    file, directory = world.at("m"), world.at("d")
    layer = world.lowers[0]
    (layer / "m").rename(layer / "old")
    (layer / "secret").rename(layer / "m")
    (layer / "d").rename(layer / "old-d")
    (layer / "p").rename(layer / "d")

    with refused(errno.ESTALE):
        world.union.read(file, 0, 9) if change == "read" else world.union.write(file, 0, b"x")
    with refused(errno.ESTALE):
        world.union.lookup(directory, b"m")
    world.forget()
    world.expect_changed_layers()


def test_a_directory_keeps_its_set_group_id_when_it_gets_another_owner(
    make_world: MakeWorld,
) -> None:
    """chown(2) clears it of files alone (fs/open.c, chown_common)."""
    world = make_world({"d": Dir(mode=0o2775), "f": File(mode=0o2775)})

    for name, kept in (("d", 0o2775), ("f", 0o775)):
        world.change(name, uid=1000, gid=1000, kill_privileges=_in_no_group)
        assert world.mode(name) == kept


def _in_no_group(_: int) -> bool:
    return False
