"""Opening, refusing to open, and leaving nothing behind."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import UpperInUse
from overlayfs_py.syscalls import files, mounts
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import Creator, StackSpec, WhiteoutStyle
from tests.support.trees import Dir, File, Symlink, Whiteout, build
from tests.union.conftest import open_files
from tests.union.deep import dig, make_file
from tests.union.refusal import refused
from tests.union.view import view
from tests.union.world import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.union.conftest import MakeWorld

_IMMUTABLE = 0x10  # FS_IMMUTABLE_FL
_PAIR = {"upper": b"upper", "work": b"work"}


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what a union is made of; nothing may stay open in the end."""
    build(tmp_path / "parts", dict.fromkeys(("lower", "upper", "work", "inner/work"), Dir()))
    monkeypatch.chdir(tmp_path / "parts")
    return tmp_path / "parts"


@pytest.mark.parametrize(
    ("spec", "number"),
    [
        (StackSpec(()), errno.EINVAL),
        (StackSpec((b"missing",)), errno.ENOENT),
        (StackSpec((b"lower", b"missing"), **_PAIR), errno.ENOENT),
        (StackSpec((b"lower",), upper=b"missing", work=b"work"), errno.ENOENT),
        (StackSpec((b"lower",), upper=b"upper", work=b"missing"), errno.ENOENT),
        (StackSpec((b"lower",), upper=b"upper"), errno.EINVAL),
        (StackSpec((b"lower",), upper=b"upper", work=b"/dev/shm"), errno.EXDEV),
        (StackSpec((b"lower",), upper=b"upper", work=b"upper"), errno.EINVAL),
        (StackSpec((b"upper",), **_PAIR), errno.ELOOP),
    ],
)
def test_what_cannot_be_opened_is_left_closed(parts: Path, spec: StackSpec, number: int) -> None:
    before, umask = open_files(), os.umask(0o022)

    with refused(number):
        Union(spec)

    assert open_files() == before
    assert os.umask(umask) == 0o022


def test_upper_and_workdir_are_in_one_mount(parts: Path) -> None:
    """In two mounts of one filesystem nothing could be renamed from the one to the other."""
    (parts / "bound").mkdir()
    mounts.mount(b"work", b"bound", None, mounts.MS_BIND)
    before = open_files()
    try:
        with refused(errno.EXDEV):
            Union(StackSpec((b"lower",), upper=b"upper", work=b"bound"))
        assert open_files() == before
        with pytest.raises(OSError, match="not in the mount that the upper is in") as refusal:
            Union(StackSpec((b"lower",), upper=b"upper", work=b"bound"))
        assert refusal.value.filename == b"workdir=bound"
    finally:
        mounts.umount(b"bound")
    Union(StackSpec((b"lower",), upper=b"upper", work=b"work")).close()


@pytest.mark.parametrize(
    ("upper", "work"),
    [(b"work/work/x", b"work"), (b"work/x", b"work"), (b"upper", b"upper/work")],
    ids=["upper on the stage", "upper in work", "work in upper"],
)
def test_upper_and_workdir_are_apart(parts: Path, upper: bytes, work: bytes) -> None:
    """What lies on the stage is thrown away."""
    os.makedirs(upper, exist_ok=True)
    os.makedirs(work, exist_ok=True)
    (parts / os.fsdecode(upper) / "precious").write_bytes(b"data")
    before = open_files()

    with refused(errno.EINVAL):
        Union(StackSpec((b"lower",), upper=upper, work=work))

    assert (parts / os.fsdecode(upper) / "precious").read_bytes() == b"data"
    assert open_files() == before


def test_an_upper_in_use_is_busy(make_world: MakeWorld) -> None:
    world = make_world({"f": File()})
    before = open_files()
    other_work = world.base / "other work"
    other_work.mkdir()

    with pytest.raises(UpperInUse, match="another mount uses it") as refusal:
        Union(world.spec)
    assert refusal.value.filename == b"upperdir=" + os.fsencode(world.upper)
    with refused(errno.EBUSY):
        Union(world.spec._replace(work=os.fsencode(other_work)))
    world.close()
    for taken in (world.upper, world.work / "work"):
        other = os.open(taken, os.O_RDONLY)
        fcntl.flock(other, fcntl.LOCK_EX)
        with refused(errno.EBUSY):
            Union(world.spec)
        os.close(other)
    world.reopen()
    assert open_files().keys() == before.keys()


@pytest.mark.parametrize("kind", ["LOCK_SH", "LOCK_EX"])
def test_a_user_who_can_read_the_upper_cannot_keep_it_from_us(
    make_world: MakeWorld, kind: str
) -> None:
    world = make_world({"f": File()})
    world.close()
    (world.upper).chmod(0o755)
    (world.work / "work").chmod(0o755)  # as it may have been left: it is closed before it counts
    program = (
        "import fcntl, os, sys; os.setgid(1000); os.setuid(1000);"
        "fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), getattr(fcntl, sys.argv[2]));"
        "print('locked', flush=True); sys.stdin.read()"
    )
    for ancestor in world.upper.parents:
        if ancestor.stat().st_uid == 0 and not ancestor.stat().st_mode & 0o001:
            ancestor.chmod(ancestor.stat().st_mode | 0o011)
    argv = [sys.executable, "-Sc", program, str(world.upper), kind]
    with subprocess.Popen(argv, stdin=PIPE, stdout=PIPE, text=True) as stranger:
        assert stranger.stdout is not None
        assert stranger.stdout.readline() == "locked\n"
        world.reopen()
        world.write("f", b"new")
        with refused(errno.EBUSY):  # by the stage, whatever the stranger does
            Union(world.spec)
        stranger.communicate("")


@pytest.mark.parametrize("name", ["#1~0", "#2", "plain"])
def test_leftovers_on_the_stage_are_cleaned(make_world: MakeWorld, name: str) -> None:
    """Killed while removing a tree, whose directories it had moved to names like these."""
    world = make_world({"f": File()})
    world.close()
    build(
        world.work / "work",
        {
            "#1/d/e/f": File(),
            "#1/other/g": File(),
            f"{name}/x/y": File(),
            f"{name}~0/deep/z": File(),
            f"{name}~1/deep/z": File(),
            "whiteout": Whiteout(),
            "link": Symlink("/etc"),
            "locked": Dir(mode=0),
        },
    )

    world.reopen()

    assert os.listdir(world.work / "work") == ["whiteout"]


def test_a_volatile_kernel_mount_left_the_workdir_unclean(make_world: MakeWorld) -> None:
    world = make_world({"f": File()})
    world.close()
    build(world.work / "work", {"incompat/volatile": Dir()})
    before = open_files()

    with refused(errno.EINVAL):
        Union(world.spec)

    assert open_files() == before


def test_an_upper_without_room_leaves_nothing_open(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_world({"f": File()})
    world.close()
    small = tmp_path / "small"
    small.mkdir()
    mounts.mount(b"tmpfs", os.fsencode(small), b"tmpfs", 0, b"size=64k,nr_inodes=4")
    try:
        os.makedirs(small / "upper")
        os.makedirs(small / "work")
        (small / "last").touch()
        before = open_files()
        spec = StackSpec(
            world.spec.lower, upper=os.fsencode(small / "upper"), work=os.fsencode(small / "work")
        )
        with refused(errno.ENOSPC):
            Union(spec)
        (small / "last").unlink()
        with refused(errno.ENOSPC):
            Union(spec)
        assert open_files() == before
    finally:
        mounts.umount(os.fsencode(small), mounts.MNT_DETACH)


def test_without_an_upper_nothing_can_be_changed(make_world: MakeWorld) -> None:
    world = make_world(
        {"f": File(b"x"), "d/g": File(), "e": Dir(), "l": Symlink("f")}, read_only=True
    )
    union = world.union

    for call in (
        lambda: world.write("f", b"y"),
        lambda: union.open_file(world.at("f"), write=True),
        lambda: world.change("f", size=0),
        lambda: world.change("d", mode=0o700),
        lambda: world.change("l", uid=3),
        lambda: world.change("", mtime_ns=1),
        lambda: world.put("new"),
        lambda: world.mkdir("new"),
        lambda: world.symlink(b"x", "new"),
        lambda: world.link("f", "new"),
        lambda: world.unlink("f"),
        lambda: world.rmdir("e"),
        lambda: world.rename("f", "new"),
        lambda: world.rename("f", "l", 2),
        lambda: world.set_xattr("f", b"user.a", b""),
        lambda: union.kill_privileges(world.at("f"), lambda _: False),
        lambda: union.begin_copy_up(world.at("f")),
        lambda: union.allocate(world.at("f"), 0, 0, 10),
        lambda: union.create_temporary(union.root, 0o600, ROOT),
    ):
        with refused(errno.EROFS):
            call()
    assert world.read("f") == b"x"
    union.open_file(world.at("f"), write=False)
    assert union.read_only


def test_a_volatile_union_keeps_no_promise_about_the_disk(make_world: MakeWorld) -> None:
    world = make_world({"f": File(b"1")}, volatile=True)

    world.write("f", b"2")
    world.union.sync(world.at("f"), data_only=False)()

    assert world.union.last_sync_s == 0
    world.reopen()
    assert world.read("f") == b"2"


def test_aufs_whiteouts(make_world: MakeWorld) -> None:
    world = make_world({"f": File(), "d/x": File()}, whiteout=WhiteoutStyle.AUFS)

    world.unlink("f")
    world.unlink("d/x")
    world.rmdir("d")

    assert sorted(os.listdir(world.upper)) == [".wh.d", ".wh.f"]
    world.reopen()
    assert world.names() == set()
    world.mkdir("d")
    world.put("f", b"new")
    assert world.names("d") == set()
    world.reopen()
    assert world.names("d") == set()
    assert sorted(os.listdir(world.upper)) == ["d", "f"]


def test_an_aufs_whiteout_that_deletes_nothing_is_taken_back(make_world: MakeWorld) -> None:
    """What failed has done nothing: the file shows, and would have been gone once it was moved."""
    world = make_world(
        {"d/f": File(b"low")}, upper={"d/f": File(b"up")}, whiteout=WhiteoutStyle.AUFS
    )
    file_fd = os.open(world.upper / "d/f", os.O_RDONLY)
    try:
        flags = files.get_flags(file_fd)
        files.set_flags(file_fd, flags | _IMMUTABLE)
        with refused(errno.EPERM):
            world.unlink("d/f")
    finally:
        files.set_flags(file_fd, flags)
        os.close(file_fd)

    assert world.read("d/f") == b"up"
    assert os.listdir(world.upper / "d") == ["f"]


def test_a_tree_deeper_than_any_path(make_world: MakeWorld, tmp_path: Path) -> None:
    depth = 3000
    innermost = dig(tmp_path / "deep", depth)
    make_file(innermost, b"f", b"data")
    make_file(innermost, b"g", b"data")
    for name in (b"e", b"gone"):
        os.mkdir(name, dir_fd=innermost)
    os.close(innermost)
    world = make_world(tmp_path / "deep")
    union = world.union
    union._state.directories._limit = 16
    here = union.root
    for _ in range(depth):
        here = union.lookup(here, b"d")
    world.hold(here)  # alone: what is above is kept for it

    union.write(world.hold(union.lookup(here, b"f")), 0, b"DATA")
    union.rename(here, b"e", here, b"E", 0)
    union.rename(here, b"g", union.root, b"g", 0)
    union.remove_directory(here, b"gone")
    union.make_directory(here, b"n", 0o755, Creator(1, 1))

    world.forget()
    world.reopen()
    assert world.names("d/" * depth) == {b"f", b"E", b"n"}
    assert world.read("d/" * depth + "f") == b"DATA"
    assert world.names() == {b"d", b"g"}


def test_many_directories_with_few_descriptors(make_world: MakeWorld) -> None:
    tree = {f"d{n}/e{m}/f": File(str(n * m).encode()) for n in range(30) for m in range(5)}
    world = make_world(tree, {f"d{n}/g": File() for n in range(30)})
    for cache in (world.union._state.directories, world.union._state.readers):
        cache._limit = 16
    base = len(open_files())

    before = view(world)
    for n in range(0, 30, 3):
        world.rename(f"d{n}/e1", f"d{n + 1}/moved")
        world.write(f"d{n}/e2/f", b"x")
    world.forget()

    assert len(open_files()) <= base + 32
    assert len(view(world)) == len(before)


def test_layers_are_read_only_to_us(make_world: MakeWorld) -> None:
    """The digest that each test compares holds access times, too."""
    world = make_world({"d/f": File(b"data"), "l": Symlink("d")})
    (world.lowers[0] / "d").stat()

    view(world)
    world.write("d/f", b"x")
    world.unlink("d/f")
    world.rmdir("d")

    world.require_untouched_layers()
