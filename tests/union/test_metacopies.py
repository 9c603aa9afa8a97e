"""Metacopies: read as the kernel wrote them, written as the kernel reads them."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import files
from overlayfs_py.union.values import Need
from tests.support.mounts import kernel_overlay
from tests.support.snapshot import differences, snapshot
from tests.support.trees import Dir, File, HardLink, Opaque, Symlink, Whiteout, build
from tests.union.deep import dig, make_file
from tests.union.killing import killed_after
from tests.union.refusal import refused
from tests.union.view import view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.support.snapshot import Snapshot
    from tests.support.trees import Node
    from tests.union.conftest import MakeWorld
    from tests.union.world import World

METACOPY = "trusted.overlay.metacopy"
REDIRECT = "trusted.overlay.redirect"
_KERNEL = {"metacopy": "on", "redirect_dir": "on", "index": "on"}
_ACL = bytes.fromhex(
    "0200000001000600ffffffff02000700e803000004000400ffffffff10000700ffffffff20000000ffffffff"
)
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")  # cap_net_raw, permitted
_NO_DUMP = 0x40  # FS_NODUMP_FL
_OLD = 10**18
BIG = os.urandom(300_000)

LAYER: dict[str, Node] = {
    "d/big": File(BIG, mode=0o640, uid=3, gid=4, xattrs={"user.a": b"1"}, mtime_ns=_OLD),
    "d/other": File(BIG[::-1], mtime_ns=_OLD),
    "d/holes": File(b"x" * 5000, size=1 << 20, mtime_ns=_OLD),
    "d/suid": File(BIG, mode=0o4755, xattrs={"security.capability": _CAPABILITY}, mtime_ns=_OLD),
    "d/acl": File(BIG, xattrs={"system.posix_acl_access": _ACL}, mtime_ns=_OLD),
    "d/empty": File(mtime_ns=_OLD),
    "d/h1": File(BIG, mtime_ns=_OLD),
    "e/h2": HardLink("d/h1"),
    "e/f": File(BIG, mtime_ns=_OLD),
}


def metacopy(
    size: int, redirect: bytes | None = None, *, value: bytes = b"", **rest: object
) -> File:
    """A file that has attributes only, as long as its data."""
    xattrs = {METACOPY: value} | ({} if redirect is None else {REDIRECT: redirect})
    return File(size=size, xattrs=xattrs, **rest)


def is_metacopy(path: Path) -> bool:
    return METACOPY in os.listxattr(path) and path.stat().st_blocks * 512 < path.stat().st_size


def kernel_view(
    base: Path, stack: Sequence[Path], upper: Path | None = None, **options: str
) -> Snapshot:
    base.mkdir()
    work = None if upper is None else upper.parent / "work"
    with kernel_overlay(
        base, stack, upper=upper or True, work=work, options=_KERNEL | options
    ) as mounted:
        return snapshot(mounted.root, mtime=True, check_inodes=False)


def _write(path: Path, data: bytes) -> None:
    with path.open("r+b") as file:
        file.write(data)


# What the kernel wrote.

# Each is done to a path on a mount.
_CHANGES: dict[str, Callable[[Path], object]] = {
    "chmod": lambda root: (root / "d/big").chmod(0o4711),
    "chown": lambda root: os.chown(root / "d/suid", 7, 8),
    "utimens": lambda root: os.utime(root / "d/holes", ns=(1, 2)),
    "set an xattr": lambda root: os.setxattr(root / "d/acl", "user.b", b"2"),
    "remove an xattr": lambda root: os.removexattr(root / "d/big", "user.a"),
    "rename beside": lambda root: (root / "d/big").rename(root / "d/new"),
    "rename away": lambda root: (root / "d/big").rename(root / "e/new"),
    "rename over": lambda root: (root / "d/big").rename(root / "e/f"),
    "rename twice": lambda root: [
        (root / "d/big").rename(root / "d/a"),
        (root / "d/a").rename(root / "e/b"),
    ],
    "rename and make anew": lambda root: [
        (root / "d/big").rename(root / "d/a"),
        (root / "d/other").rename(root / "d/big"),
    ],
    "exchange": lambda root: files.rename(
        -100, os.fsencode(root / "d/big"), -100, os.fsencode(root / "e/f"), 2
    ),
    "rename a directory above": lambda root: [
        (root / "d/big").chmod(0o600),
        (root / "d").rename(root / "D"),
        (root / "D/big").rename(root / "D/new"),
        (root / "D/other").rename(root / "e/other"),
    ],
    "link": lambda root: [(root / "d/big").chmod(0o600), os.link(root / "d/big", root / "e/new")],
    "hard links": lambda root: (root / "d/h1").chmod(0o600),
    "chmod and write": lambda root: [
        (root / "d/big").chmod(0o600),
        _write(root / "d/big", b"new"),
    ],
    "chmod and truncate": lambda root: [
        (root / "d/big").chmod(0o600),
        os.truncate(root / "d/big", 1000),
    ],
    "chmod of an empty one": lambda root: (root / "d/empty").chmod(0o600),
}


@pytest.mark.parametrize("change", [name for name in _CHANGES if name != "hard links"])
def test_an_upper_of_the_kernel_shows_what_the_kernel_shows(
    make_world: MakeWorld, tmp_path: Path, change: str
) -> None:
    build(tmp_path / "layer", LAYER)
    with kernel_overlay(tmp_path, [tmp_path / "layer"], options=_KERNEL) as mounted:
        _CHANGES[change](mounted.root)
        expected = snapshot(mounted.root, mtime=True, check_inodes=False)
        sizes = {
            path: (mounted.root / os.fsdecode(path)).lstat().st_blocks
            for path in expected
            if expected[path].kind == "file"
        }
    upper = tmp_path / "upper"

    world = make_world(tmp_path / "layer", upper=upper, metacopy=True)

    assert not differences(expected, view(world, mtime=True))
    assert {path: world.stat(path).blocks for path in sizes} == sizes
    world.close()
    # The same as a layer, and below a further upper.
    lower = make_world(upper, tmp_path / "layer", metacopy=True)
    for path, entry in expected.items():
        if entry.kind == "file":
            lower.change(path, mode=entry.mode)
            lower.change(path, mtime_ns=entry.mtime_ns)
    shown = view(lower, mtime=True)
    lower.close()
    assert not differences(_files(expected), _files(shown))
    kernel = kernel_view(tmp_path / "k", [upper, tmp_path / "layer"], lower.upper)
    assert not differences(kernel, shown)


def _files(shown: Snapshot) -> Snapshot:
    return {path: entry for path, entry in shown.items() if entry.kind != "directory"}


_STACKS: dict[str, list[dict[str, Node]]] = {
    "same name": [{"f": metacopy(300_000, mode=0o600)}, {"f": File(BIG)}],
    "struct": [{"f": metacopy(300_000, value=bytes([0, 4, 0, 0]))}, {"f": File(BIG)}],
    "digest": [{"f": metacopy(300_000, value=bytes([0, 36, 0, 1]) + bytes(32))}, {"f": File(BIG)}],
    "odd version": [
        {"f": metacopy(300_000, value=bytes([1, 9, 0, 0]))},
        {"f": File(BIG)},
    ],
    "relative": [{"d/f": metacopy(300_000, b"g")}, {"d/g": File(BIG), "d/f": File(b"not me")}],
    "absolute": [{"d/f": metacopy(300_000, b"/e/g")}, {"e/g": File(BIG), "d/x": File()}],
    "chain": [
        {"a": metacopy(300_000, b"b")},
        {"b": metacopy(300_000, b"/d/c")},
        {"x": File()},
        {"d/c": metacopy(300_000)},
        {"d/c": File(BIG)},
    ],
    "absolute, then relative": [
        {"a": metacopy(300_000, b"/d/b")},
        {"d/b": metacopy(300_000, b"c")},
        {"d/c": File(BIG), "d/b": File(b"not me")},
    ],
    "through a redirected directory": [
        {"D": Dir(xattrs={REDIRECT: b"d"}), "D/f": metacopy(300_000)},
        {"d/f": File(BIG)},
    ],
    "path through a redirected directory": [
        {"f": metacopy(300_000, b"/D/f")},
        {"D": Dir(xattrs={REDIRECT: b"/d"}), "D/x": File()},
        {"d/f": File(BIG)},
    ],
    "absolute behind an opaque directory": [
        {"f": metacopy(300_000, b"/d/f")},
        {"d": Opaque(), "d/f": metacopy(300_000, b"/e/g")},
        {"d/f": File(b"not me"), "e/g": File(BIG)},
    ],
    "in an opaque directory": [{"d": Opaque(), "d/f": metacopy(300_000, b"/g")}, {"g": File(BIG)}],
    "a block of xattrs, size of a block": [
        {"f": File(size=4096, xattrs={METACOPY: b"", "user.a": b"v" * 1000})},
        {"f": File(b"x" * 4096)},
    ],
}


@pytest.mark.parametrize("stack", _STACKS)
def test_data_is_found_where_the_kernel_finds_it(
    make_world: MakeWorld, tmp_path: Path, stack: str
) -> None:
    world = make_world(*_STACKS[stack], metacopy=True)
    expected = kernel_view(tmp_path / "kernel", world.lowers)

    assert not differences(_files(expected), _files(view(world, mtime=True)))


@pytest.mark.parametrize(
    "stack",
    [
        [{"f": metacopy(9000)}],
        [{"f": metacopy(9000)}, {"g": File(BIG)}],
        [{"f": metacopy(9000)}, {"f": Whiteout()}, {"f": File(BIG)}],
        [{"f": metacopy(9000)}, {"f": Dir()}],
        [{"f": metacopy(9000)}, {"f": Symlink("g"), "g": File(BIG)}],
        [{"f": metacopy(9000, b"/d/f")}, {"d": Opaque()}, {"d/f": File(BIG)}],
        [{"f": metacopy(9000, value=b"x")}, {"f": File(BIG)}],
        [{"d": Opaque(), "d/f": metacopy(9000)}, {"d/f": File(BIG)}],
    ],
)
def test_a_metacopy_of_nothing_is_an_error_as_in_the_kernel(
    make_world: MakeWorld, tmp_path: Path, stack: list[dict[str, Node]]
) -> None:
    path = "d/f" if "d/f" in stack[0] else "f"
    world = make_world(*stack, {"beside": File()}, metacopy=True)
    with kernel_overlay(tmp_path, world.lowers, options=_KERNEL) as mounted, refused(errno.EIO):
        (mounted.root / path).lstat()

    with refused(errno.EIO):
        world.find(path)

    assert world.read("beside") == b""
    world.close()


def test_data_only_layers_are_reached_by_redirects_alone(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    build(tmp_path / "d1", {"0a/first": File(BIG), "hidden": File(b"x")})
    build(tmp_path / "d2", {"0a/first": File(b"not me"), "0b/second": File(BIG[::-1])})
    data = tuple(os.fsencode(tmp_path / name) for name in ("d1", "d2"))
    layer = {
        "f": metacopy(300_000, b"/0a/first", mode=0o600),
        "d/g": metacopy(300_000, b"/0b/second"),
    }
    world = make_world(layer, {"x": File()}, data_only=data)
    with kernel_overlay(
        tmp_path,
        [],
        options={
            "lowerdir": f"{world.lowers[0]}:{world.lowers[1]}::{tmp_path}/d1::{tmp_path}/d2",
            "metacopy": "on",
        },
    ) as mounted:
        expected = snapshot(mounted.root, mtime=True, check_inodes=False)

    assert not differences(_files(expected), _files(view(world, mtime=True)))
    assert world.names() == {b"f", b"d", b"x"}
    world.write("f", b"changed")
    assert world.read("f") == b"changed" + BIG[7:]
    assert os.listxattr(world.upper / "f") == ["trusted.overlay.origin"]


def test_without_the_option_only_data_layers_are_followed(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    build(tmp_path / "data", {"0a": File(BIG)})
    world = make_world(
        {"f": metacopy(300_000, b"/0a"), "g": metacopy(300_000), "h": metacopy(300_000, b"/g")},
        {"g": File(BIG)},
        data_only=(os.fsencode(tmp_path / "data"),),
    )

    assert world.union.read(world.at("f"), 0, 1 << 20) == BIG
    for path in ("g", "h"):
        with refused(errno.EPERM):
            world.union.read(world.at(path), 0, 1)
    world.close()


# What we write.


@pytest.mark.parametrize("change", _CHANGES)
def test_the_kernel_reads_what_we_wrote(make_world: MakeWorld, tmp_path: Path, change: str) -> None:
    world = make_world(LAYER, metacopy=True)
    _on(world, change)
    ours = view(world, mtime=True)
    world.close()

    kernel = kernel_view(tmp_path / "kernel", world.lowers, world.upper)
    assert not differences(kernel, ours)
    again = make_world(world.lowers[0], upper=world.upper, metacopy=True)
    assert not differences(ours, view(again, mtime=True))


def _on(world: World, change: str) -> None:
    """Do to a union what `_CHANGES` does to a mount."""
    match change:
        case "chmod":
            world.change("d/big", mode=0o4711)
        case "chown":
            world.change("d/suid", uid=7, gid=8)
        case "utimens":
            world.change("d/holes", atime_ns=1, mtime_ns=2)
        case "set an xattr":
            world.set_xattr("d/acl", b"user.b", b"2")
        case "remove an xattr":
            world.union.remove_xattr(world.at("d/big"), b"user.a")
        case "rename beside":
            world.rename("d/big", "d/new")
        case "rename away":
            world.rename("d/big", "e/new")
        case "rename over":
            world.rename("d/big", "e/f")
        case "rename twice":
            world.rename("d/big", "d/a")
            world.rename("d/a", "e/b")
        case "rename and make anew":
            world.rename("d/big", "d/a")
            world.rename("d/other", "d/big")
        case "exchange":
            world.rename("d/big", "e/f", 2)
        case "rename a directory above":
            world.change("d/big", mode=0o600)
            world.rename("d", "D")
            world.rename("D/big", "D/new")
            world.rename("D/other", "e/other")
        case "link":
            world.change("d/big", mode=0o600)
            world.link("d/big", "e/new")
        case "hard links":
            world.change("d/h1", mode=0o600)
        case "chmod and write":
            world.change("d/big", mode=0o600)
            world.write("d/big", b"new")
        case "chmod and truncate":
            world.change("d/big", mode=0o600)
            world.change("d/big", size=1000)
        case "chmod of an empty one":
            world.change("d/empty", mode=0o600)


_LIGHT = (
    *("chmod", "utimens", "set an xattr", "remove an xattr", "rename beside", "rename away"),
    *("rename over", "rename twice", "rename a directory above"),
)


@pytest.mark.parametrize("change", _LIGHT)
def test_attributes_and_names_are_changed_without_the_data(
    make_world: MakeWorld, change: str
) -> None:
    world = make_world(LAYER, metacopy=True)

    _on(world, change)

    found = [path for path in world.upper.rglob("*") if path.is_file()]
    assert found
    assert all(is_metacopy(path) for path in found)


def test_a_metacopy_looks_like_its_file(make_world: MakeWorld) -> None:
    world = make_world(LAYER, metacopy=True)
    before = world.stat("d/holes")

    after = world.change("d/holes", uid=9)

    assert after._replace(uid=before.uid, ctime_ns=before.ctime_ns) == before
    union, node = world.union, world.at("d/holes")
    assert union.seek(node, 0, os.SEEK_HOLE) == 8192
    with (world.upper / "d/holes").open("rb") as copy:
        assert union.get_flags(node) == files.get_flags(copy.fileno())
    assert union.read(node, 0, 1 << 21) == b"x" * 5000 + bytes((1 << 20) - 5000)
    union.sync(node, data_only=False)()
    assert is_metacopy(world.upper / "d/holes")


_DATA_CHANGES: dict[str, Callable[[World], object]] = {
    "write": lambda w: w.write("d/suid", b"new"),
    "shorten": lambda w: w.change("d/suid", size=100),
    "lengthen": lambda w: w.change("d/suid", size=400_000),
    "empty": lambda w: w.change("d/suid", size=0),
    "open to write": lambda w: w.union.open_file(w.at("d/suid"), write=True),
    "allocate": lambda w: w.union.allocate(w.at("d/suid"), 0, 0, 500_000),
    "copy": lambda w: w.union.copy_range(w.at("e/f"), 5, w.at("d/suid"), 0, 5),
    "flags": lambda w: w.union.set_flags(
        w.at("d/suid"), w.union.get_flags(w.at("d/suid")) | _NO_DUMP
    ),
    "link": lambda w: w.link("d/suid", "e/new"),
}


@pytest.mark.parametrize("reopened", [False, True], ids=["same mount", "next mount"])
@pytest.mark.parametrize("change", _DATA_CHANGES)
def test_data_comes_when_it_is_needed(
    make_world: MakeWorld, change: str, *, reopened: bool
) -> None:
    plain = make_world(LAYER)
    world = make_world(LAYER, metacopy=True)
    for one in (plain, world):
        one.change("d/suid", mode=0o4711)
        one.set_xattr("d/suid", b"user.b", b"2")
        one.set_xattr("d/suid", b"trusted.overlay.x", b"a user's own")
        if reopened:
            one.reopen()
    number = world.stat("d/suid").ino

    for one in (plain, world):
        _DATA_CHANGES[change](one)
        one.change("d/suid", mtime_ns=5)

    assert not [name for name in os.listxattr(world.upper / "d/suid") if name == METACOPY]
    expected, shown = (_files(view(one, mtime=True)) for one in (plain, world))
    assert not differences(expected, shown)
    assert world.stat("d/suid").ino == number
    world.forget()
    assert world.stat("d/suid").ino == number


def test_a_completed_files_number_is_nobody_elses(make_world: MakeWorld) -> None:
    """The host gives a freed inode number to the next file."""
    world = make_world({f"f{n}": File(BIG[: 5000 + n]) for n in range(20)}, metacopy=True)
    for n in range(20):
        world.change(f"f{n}", mode=0o600)
    world.reopen()

    for n in range(20):
        world.write(f"f{n}", b"new")
        world.put(f"g{n}", b"other")

    assert len({world.stat(name).ino for name in world.names()}) == 40
    assert all(world.read(f"f{n}") == b"new" + BIG[3 : 5000 + n] for n in range(20))


def test_hard_links_of_the_kernel_are_completed_together(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    build(tmp_path / "layer", LAYER)
    with kernel_overlay(tmp_path, [tmp_path / "layer"], options=_KERNEL) as mounted:
        os.chown(mounted.root / "d/suid", 7, 7)
        os.setxattr(mounted.root / "d/suid", "security.capability", _CAPABILITY)
        (mounted.root / "d/suid").chmod(0o4711)
        os.utime(mounted.root / "d/suid", ns=(1, 2))
        os.link(mounted.root / "d/suid", mounted.root / "e/new")
        expected = snapshot(mounted.root, mtime=True, check_inodes=False)
    world = make_world(tmp_path / "layer", upper=tmp_path / "upper", metacopy=True)

    world.union.open_file(world.at("d/suid"), write=True)

    assert (tmp_path / "upper/d/suid").stat().st_nlink == 2
    assert METACOPY not in os.listxattr(tmp_path / "upper/e/new")
    assert (tmp_path / "upper/e/new").read_bytes() == BIG
    assert not differences(expected, view(world, mtime=True))
    world.write("e/new", b"both")
    assert world.read("d/suid") == b"both" + BIG[4:]


def test_a_removed_metacopy_is_still_read_and_written(make_world: MakeWorld) -> None:
    world = make_world(LAYER, metacopy=True)
    world.change("d/big", mode=0o600)
    node = world.at("d/big")
    world.unlink("d/big")

    assert world.union.read(node, 0, 1 << 20) == BIG
    world.union.write(node, 0, b"new")
    assert world.union.read(node, 0, 1 << 20) == b"new" + BIG[3:]
    assert world.union.attributes(node).nlink == 0


def test_what_lost_its_name_is_copied_with_its_data(make_world: MakeWorld) -> None:
    world = make_world(LAYER, metacopy=True)
    node = world.at("d/big")
    world.unlink("d/big")

    assert not world.union.copy_up_size(node, Need.EMPTY)
    assert world.union.copy_up_size(node, Need.ATTRIBUTES) == len(BIG)
    assert stat.S_IMODE(world.union.change_attributes(node, _mode(0o600)).mode) == 0o600
    assert world.union.read(node, 0, 1 << 20) == BIG


def _mode(mode: int) -> object:
    from overlayfs_py.union.values import AttributeChange

    return AttributeChange(mode=mode)


def test_a_copy_under_way_completes_what_became_a_metacopy(make_world: MakeWorld) -> None:
    """A writer waits for a thread; meanwhile somebody changes the mode, and renames."""
    world = make_world(LAYER, metacopy=True)
    node = world.at("d/big")
    copy = world.union.begin_copy_up(node)
    assert copy is not None

    world.change("d/big", mode=0o600)
    world.rename("d/big", "e/big")
    copy.transfer()
    world.union.commit_copy_up(copy)

    assert world.read("e/big") == BIG
    assert world.mode("e/big") == 0o600
    marks = [name for name in os.listxattr(world.upper / "e/big") if "overlay" in name]
    assert marks == ["trusted.overlay.origin"]


def test_a_redirect_too_long_for_an_xattr_brings_the_data(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    innermost = dig(tmp_path / "deep", 25, b"d" * 200)
    make_file(innermost, b"f", BIG)
    os.close(innermost)
    world = make_world(tmp_path / "deep", metacopy=True)
    path = "/".join(["d" * 200] * 25) + "/f"
    world.change(path, mode=0o600)

    world.rename(path, "f")

    assert world.read("f") == BIG
    assert not is_metacopy(world.upper / "f")


def test_volatile_copies_small_files_whole(make_world: MakeWorld) -> None:
    world = make_world({"small": File(b"x"), "big": File(BIG)}, metacopy=True, volatile=True)

    world.change("small", mode=0o600)
    world.change("big", mode=0o600)

    assert not is_metacopy(world.upper / "small")
    assert is_metacopy(world.upper / "big")


def test_the_mark_is_hidden_and_cannot_be_set(make_world: MakeWorld) -> None:
    world = make_world(LAYER, metacopy=True)
    world.change("d/other", mode=0o600)

    world.set_xattr("d/other", METACOPY.encode(), b"mine")

    assert world.xattrs("d/other") == {METACOPY.encode(): b"mine"}
    assert os.getxattr(world.upper / "d/other", METACOPY) == b""
    assert world.read("d/other") == BIG[::-1]


_KILLED: dict[str, Callable[[World], object]] = {
    "make one": lambda w: w.change("d/big", mode=0o600),
    "make one by an xattr": lambda w: w.set_xattr("d/big", b"user.b", b"2"),
    "rename into one": lambda w: w.rename("d/big", "e/new"),
    "rename one": lambda w: w.rename("d/suid", "e/new"),
    "rename one beside": lambda w: w.rename("d/suid", "d/new"),
    "rename one over one": lambda w: w.rename("d/suid", "d/other"),
    "exchange": lambda w: w.rename("d/suid", "d/big", 2),
    "complete one": lambda w: w.union.open_file(w.at("d/suid"), write=True),
    "empty one": lambda w: w.change("d/other", size=0),
    "link one": lambda w: w.link("d/suid", "e/new"),
}


@pytest.mark.parametrize("change", _KILLED)
def test_a_kill_leaves_before_or_after(make_world: MakeWorld, tmp_path: Path, change: str) -> None:
    build(tmp_path / "layer", LAYER)

    def prepared() -> World:
        world = make_world(tmp_path / "layer", metacopy=True)
        world.change("d/suid", uid=7)
        world.set_xattr("d/suid", b"security.capability", _CAPABILITY)
        world.change("d/suid", mode=0o4711, mtime_ns=_OLD)
        world.change("d/other", mode=0o600)
        world.reopen()
        return world

    timed = change != "empty one"  # what empties it sets its time, now
    done = prepared()
    before = _files(view(done, mtime=timed))
    _KILLED[change](done)
    done.reopen()
    after = _files(view(done, mtime=timed))
    done.close()

    calls, killed = 1, True
    while killed:
        world = prepared()
        killed = killed_after(calls, world, _KILLED[change])
        world.reopen()
        shown = _files(view(world, mtime=timed))
        assert shown in (before, after) if killed else shown == after, calls
        world.close()
        calls += 1
    assert calls > 2


def test_a_kill_while_hard_links_are_completed_costs_no_data(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    """The time may be that of a write; whatever else shows is as before or after."""
    build(tmp_path / "layer", LAYER)
    calls, killed = 1, True
    while killed:
        base = tmp_path / f"kernel{calls}"
        base.mkdir()
        with kernel_overlay(base, [tmp_path / "layer"], options=_KERNEL) as mounted:
            os.chown(mounted.root / "d/big", 7, 7)
            os.link(mounted.root / "d/big", mounted.root / "e/new")
        world = make_world(tmp_path / "layer", upper=base / "upper", metacopy=True)
        killed = killed_after(calls, world, lambda w: w.union.open_file(w.at("d/big"), write=True))
        world.reopen()
        assert world.read("d/big") == world.read("e/new") == BIG, calls
        assert world.stat("d/big").ino == world.stat("e/new").ino
        assert world.owner("e/new") == (7, 7)
        world.close()
        calls += 1
    assert METACOPY not in os.listxattr(base / "upper/d/big")
    assert calls > 2
