"""Copy-up: the copy is the same in every respect, and nothing else has changed."""

from __future__ import annotations

import errno
import os
import resource
import socket
import stat
import struct
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import files
from overlayfs_py.union import acl
from tests.support.snapshot import differences
from tests.support.trees import Device, Dir, Fifo, File, HardLink, Socket, Symlink, build
from tests.union.refusal import refused
from tests.union.view import view

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.union.core import CopyUp
    from tests.support.trees import Node
    from tests.union.conftest import MakeWorld
    from tests.union.world import World

_CAPABILITY = struct.pack("<IIIII", 0x02000000, 1 << 13, 0, 0, 0)  # VFS_CAP_REVISION_2, NET_RAW
_ACL = acl.build(
    [
        acl.AclEntry(1, 6, 0xFFFFFFFF),
        acl.AclEntry(2, 7, 1000),
        acl.AclEntry(4, 4, 0xFFFFFFFF),
        acl.AclEntry(16, 7, 0xFFFFFFFF),
        acl.AclEntry(32, 0, 0xFFFFFFFF),
    ]
)
_OLD = 1_000_000_000_123_456_789
_APPEND_ONLY = 0x20  # FS_APPEND_FL
_USER = 1000

_OBJECTS: dict[str, Node] = {
    "file": File(b"data", mode=0o640, uid=1, gid=2, mtime_ns=_OLD),
    "set-id": File(b"data", mode=0o6755, uid=1, gid=2, mtime_ns=_OLD),
    "no permissions": File(b"data", mode=0, mtime_ns=_OLD),
    "empty": File(b"", mtime_ns=_OLD),
    "xattrs": File(xattrs={"user.a": b"1", "trusted.b": b"\0", "user.empty": b""}, mtime_ns=_OLD),
    "capability": File(xattrs={"security.capability": _CAPABILITY}, mode=0o755, mtime_ns=_OLD),
    "acl": File(xattrs={"system.posix_acl_access": _ACL}, mode=0o670, mtime_ns=_OLD),
    "directory": Dir(mode=0o3775, uid=3, gid=4, xattrs={"user.d": b"x"}, mtime_ns=_OLD),
    "default acl": Dir(xattrs={"system.posix_acl_default": _ACL}, mtime_ns=_OLD),
    "symlink": Symlink("no/where", uid=5, gid=6, mtime_ns=_OLD),
    "symlink xattr": Symlink("nowhere", xattrs={"trusted.c": b"2"}, mtime_ns=_OLD),
    "fifo": Fifo(mode=0o622, uid=7, mtime_ns=_OLD),
    "socket": Socket(mode=0o777, mtime_ns=_OLD),
    "device": Device(stat.S_IFCHR, 1, 3, mode=0o666, mtime_ns=_OLD),
    "block device": Device(stat.S_IFBLK, 7, 200, mode=0o660, gid=6, mtime_ns=_OLD),
    "escaped": File(xattrs={"trusted.overlay.overlay.opaque": b"y"}, mtime_ns=_OLD),
    "escaped directory": Dir(xattrs={"trusted.overlay.overlay.redirect": b"z"}, mtime_ns=_OLD),
}


def _copy_up(world: World, path: str) -> None:
    """Let an object be in the upper by a change that takes itself back."""
    world.rename(path, path + "~")
    world.rename(path + "~", path)


@pytest.mark.parametrize("kind", _OBJECTS)
def test_a_copy_is_the_same(make_world: MakeWorld, kind: str) -> None:
    world = make_world({"p/q": Dir(mtime_ns=_OLD), "p/q/x": _OBJECTS[kind]})
    before = view(world, mtime=True)
    attributes = world.stat("p/q/x")

    _copy_up(world, "p/q/x")

    copied = world.stat("p/q/x")
    assert copied.ino == attributes.ino
    assert (copied.mtime_ns, copied.atime_ns) == (attributes.mtime_ns, attributes.atime_ns)
    assert (world.upper / "p/q/x").lstat().st_mode == attributes.mode
    after = view(world, mtime=True)
    # The renames themselves changed their directory's times.
    assert {d.path for d in differences(before, after)} <= {b"p/q"}
    world.reopen()
    assert {d.path for d in differences(before, view(world, mtime=True))} <= {b"p/q"}


def test_directories_above_keep_their_times(make_world: MakeWorld) -> None:
    world = make_world(
        {"p": Dir(mtime_ns=_OLD), "p/q": Dir(mtime_ns=_OLD + 1), "p/q/x": File(b"1")}
    )
    before = {path: world.stat(path) for path in ("", "p", "p/q")}

    world.write("p/q/x", b"2")

    for path, known in before.items():
        assert world.stat(path).mtime_ns == known.mtime_ns, path
    assert world.stat("p/q").atime_ns == before["p/q"].atime_ns
    assert (world.upper / "p/q").stat().st_mtime_ns == _OLD + 1


def test_only_what_is_changed_is_copied(make_world: MakeWorld) -> None:
    world = make_world({"d/a": File(b"1"), "d/b": File(b"2"), "e/c": File(b"3")})

    world.write("d/a", b"x")

    assert sorted(os.listdir(world.upper)) == ["d"]
    assert os.listdir(world.upper / "d") == ["a"]


def test_holes_stay_holes(make_world: MakeWorld, tmp_path: Path) -> None:
    layer = tmp_path / "sparse"
    build(layer, {"f": File(b"head", size=50 << 20)})
    with (layer / "f").open("r+b") as file:
        file.seek(20 << 20)
        file.write(b"middle")
    world = make_world(layer)

    world.write("f", b"tail", (50 << 20) - 4)

    copied = (world.upper / "f").stat()
    assert copied.st_size == 50 << 20
    assert copied.st_blocks * 512 < 1 << 20
    assert world.union.read(world.at("f"), 20 << 20, 6) == b"middle"
    assert world.union.read(world.at("f"), (50 << 20) - 4, 10) == b"tail"


def test_truncating_copies_no_more_than_is_kept(make_world: MakeWorld) -> None:
    world = make_world({"f": File(b"x" * 100_000), "g": File(b"y" * 100_000)})

    world.change("f", size=0)
    world.change("g", size=10)

    assert (world.read("f"), world.read("g")) == (b"", b"y" * 10)
    assert world.stat("f").size == 0


def test_reading_copies_nothing(make_world: MakeWorld) -> None:
    world = make_world({"d/f": File(b"1"), "d/l": Symlink("f")})

    view(world)
    world.union.open_file(world.at("d/f"), write=False)
    world.union.sync(world.at("d/f"), data_only=False)()

    assert os.listdir(world.upper) == []


def test_a_copy_in_three_steps(make_world: MakeWorld) -> None:
    world = make_world({"d/f": File(b"data")})
    node = world.at("d/f")

    copy = world.union.begin_copy_up(node)
    assert copy is not None
    assert copy.size_bytes == 4
    copy.transfer()
    world.union.commit_copy_up(copy)

    assert (world.upper / "d/f").read_bytes() == b"data"
    assert world.union.begin_copy_up(node) is None


def test_an_aborted_copy_leaves_nothing(make_world: MakeWorld) -> None:
    world = make_world({"f": File(b"data")})

    copy = world.union.begin_copy_up(world.at("f"))
    assert copy is not None
    world.union.abort_copy_up(copy)

    assert os.listdir(world.upper) == []
    assert world.read("f") == b"data"


_MEANWHILE = {
    "written": lambda world: world.write("d/f", b"NEW"),
    "truncated": lambda world: world.change("d/f", size=0),
    "unlinked": lambda world: world.unlink("d/f"),
    "unlinked, other made": lambda world: (world.unlink("d/f"), world.put("d/f", b"other")),
    "renamed": lambda world: world.rename("d/f", "e"),
    "replaced": lambda world: (world.put("n", b"n"), world.rename("n", "d/f")),
    "parent renamed": lambda world: world.rename("d", "D"),
    "parent copied up": lambda world: world.change("d", mode=0o700),
    "linked": lambda world: world.link("d/f", "g"),
    "parent removed": lambda world: (world.unlink("d/f"), world.rmdir("d")),
    "exchanged": lambda world: world.rename("d/f", "other", 2),
    "copied twice": lambda world: world.union.commit_copy_up(_transferred(world)),
    "other link unlinked": lambda world: world.unlink("h"),
}


def _transferred(world: World) -> object:
    copy = world.union.begin_copy_up(world.at("d/f"))
    assert copy is not None
    copy.transfer()
    return copy


@pytest.mark.parametrize("change", _MEANWHILE)
@pytest.mark.parametrize("linked", [False, True], ids=["one link", "two links"])
def test_what_happens_during_a_transfer_wins(
    make_world: MakeWorld, change: str, *, linked: bool
) -> None:
    tree = {"d/f": File(b"data"), "other": File(b"o")}
    if linked:
        tree["h"] = HardLink("d/f")
    elif change == "other link unlinked":
        tree["h"] = File()
    slow, plain = make_world(tree), make_world(tree)
    node = slow.at("d/f")

    copy = _transferred(slow)
    _MEANWHILE[change](slow)
    slow.union.commit_copy_up(copy)
    _MEANWHILE[change](plain)

    assert not differences(view(plain), view(slow))
    assert slow.union.attributes(node).ino == node.ino
    slow.reopen()
    plain.reopen()
    # A layer cannot take note of a link less, so a later mount counts it again.
    again = differences(view(plain), view(slow))
    assert not [found for found in again if found.field != "nlink"]


def test_a_socket_of_a_layer_is_copied_as_one(make_world: MakeWorld, tmp_path: Path) -> None:
    layer = tmp_path / "layer"
    layer.mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(layer / "s"))
    world = make_world(layer)

    world.change("s", mode=0o600)

    assert stat.S_ISSOCK((world.upper / "s").stat().st_mode)


_IMPURE = "trusted.overlay.impure"


def test_other_writers_marks_are_not_copied(make_world: MakeWorld) -> None:
    marks = {"trusted.overlay.origin": b"\0\xfb", "user.fuseoverlayfs.origin": b"x"}
    world = make_world({"d": Dir(xattrs=marks), "d/f": File(xattrs=marks)})

    world.write("d/f", b"x")

    assert set(os.listxattr(world.upper / "d")) == {"trusted.overlay.origin", _IMPURE}
    assert os.listxattr(world.upper / "d/f") == ["trusted.overlay.origin"]
    for name in ("d", "d/f"):
        assert os.getxattr(world.upper / name, "trusted.overlay.origin") != b"\0\xfb"


def test_a_copy_has_no_name_before_it_is_whole(make_world: MakeWorld) -> None:
    world = make_world({"f": File(b"data", mode=0o640, uid=1, gid=2, mtime_ns=_OLD)})

    copy = _transferred_of(world, "f")
    staged, status = os.listdir(world.work / "work"), os.fstat(copy.staged.fd)
    world.union.commit_copy_up(copy)

    assert set(staged) <= {"whiteout"}
    assert (status.st_mode, status.st_uid, status.st_gid) == (stat.S_IFREG | 0o640, 1, 2)
    assert (status.st_size, status.st_mtime_ns) == (4, _OLD)
    assert (world.upper / "f").stat().st_ino == status.st_ino


def _transferred_of(world: World, path: str) -> CopyUp:
    copy = world.union.begin_copy_up(world.at(path))
    assert copy is not None
    copy.transfer()
    return copy


@pytest.mark.parametrize(
    "kind", ["file", "set-id", "no permissions", "xattrs", "capability", "acl"]
)
def test_a_copy_is_the_same_where_no_file_can_be_nameless(make_world: MakeWorld, kind: str) -> None:
    world = make_world({"p": Dir(mtime_ns=_OLD), "p/x": _OBJECTS[kind]})
    before = view(world, mtime=True)
    world.union._state.upper.makes_nameless = False

    world.change("p/x", mode=stat.S_IMODE(world.stat("p/x").mode))

    assert not differences(before, view(world, mtime=True))
    assert (world.upper / "p/x").stat().st_mode == world.stat("p/x").mode
    assert set(os.listdir(world.work / "work")) <= {"whiteout"}


@pytest.mark.parametrize("can", [True, False], ids=["nameless", "named"])
def test_xattrs_that_go_during_a_transfer_stay_gone(make_world: MakeWorld, *, can: bool) -> None:
    world = make_world({"f": File(b"data", xattrs={"user.a": b"1", "user.b": b"2"})}, metacopy=True)
    world.union._state.upper.makes_nameless = can

    copy = _transferred_of(world, "f")
    world.union.remove_xattr(world.at("f"), b"user.a")
    world.union.commit_copy_up(copy)

    assert set(os.listxattr(world.upper / "f")) == {"trusted.overlay.origin", "user.b"}
    assert world.read("f") == b"data"


def test_xattrs_are_given_anew_by_who_may_not_write_the_file(make_world: MakeWorld) -> None:
    """An ordinary user can change those of no file that is read-only, its own as little."""
    lower = {"f": File(b"data", mode=0o444, uid=_USER, xattrs={"user.a": b"1", "user.b": b"2"})}
    world = make_world(lower, metacopy=True)
    upper = world.union._state.upper
    for path in (world.upper, upper.stage.fd()):
        os.chown(path, _USER, 0)
    upper.prefix = b"user.overlay."

    node = world.at("f")
    os.seteuid(_USER)
    try:
        copy = _transferred_of(world, "f")
        world.change("f", mode=0o600)
        world.union.remove_xattr(node, b"user.a")
        world.union.commit_copy_up(copy)
    finally:
        os.seteuid(0)

    assert set(os.listxattr(world.upper / "f")) == {"user.overlay.origin", "user.b"}
    assert (world.mode("f"), world.read("f")) == (0o600, b"data")


@pytest.mark.parametrize("changed", ["f", "d"])
def test_a_directory_whose_times_cannot_be_set_takes_copies(
    make_world: MakeWorld, changed: str
) -> None:
    world = make_world({"f": File(b"data"), "d": Dir()})
    root_fd = world.union._state.upper.tree.root_fd()
    flags = files.get_flags(root_fd)
    files.set_flags(root_fd, flags | _APPEND_ONLY)
    try:
        world.change(changed, mode=0o700)
        world.change(changed, mode=0o500)
    finally:
        files.set_flags(root_fd, flags)

    assert world.mode(changed) == stat.S_IMODE((world.upper / changed).stat().st_mode) == 0o500
    assert set(os.listdir(world.work / "work")) <= {"whiteout"}


@pytest.mark.parametrize("written", [False, True], ids=["lower", "upper"])
def test_a_file_that_may_only_grow_keeps_what_it_holds(
    make_world: MakeWorld, *, written: bool
) -> None:
    """As it stays open for writing, and who holds it open is not asked again."""
    world = make_world({"f": File(b"data")})
    if written:
        world.write("f", b"DATA")
    node, before = world.at("f"), world.read("f")
    flags = world.union.get_flags(node)
    world.union.set_flags(node, flags | _APPEND_ONLY)
    try:
        with refused(errno.EPERM):
            world.write("f", b"lost")
        world.write("f", b"grown", len(before))
    finally:
        world.union.set_flags(node, flags)

    assert world.read("f") == before + b"grown"
    world.write("f", b"more")
    assert world.read("f") == b"moregrown"


@pytest.mark.parametrize("removed", [False, True], ids=["named", "removed"])
@pytest.mark.parametrize("room", range(8))
def test_without_a_descriptor_nothing_is_half_done(
    make_world: MakeWorld, room: int, *, removed: bool
) -> None:
    world = make_world({"f": File(b"data", xattrs={"user.a": b"1"}), "g": File()})
    world.change("g", mode=0o600)
    node = world.at("f")
    if removed:
        world.unlink("f")

    with _descriptors_left(room), suppress(OSError):
        world.union.write(node, 0, b"DATA")

    assert set(os.listdir(world.work / "work")) <= {"whiteout"}
    world.union.write(node, 4, b"more")
    assert world.union.read(node, 0, 10) in (b"datamore", b"DATAmore")


@contextmanager
def _descriptors_left(room: int) -> Iterator[None]:
    """Let this process open `room` more files, and no others."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < max(map(int, os.listdir("/proc/self/fd"))) - 1:
        taken.append(os.dup(taken[0]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1 + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
