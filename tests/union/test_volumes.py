"""Volumes: host directories in the union, changed by others as well."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import files
from overlayfs_py.union.values import AttributeChange, Volume
from tests.support.trees import Dir, File, HardLink, Symlink, build
from tests.union.refusal import refused
from tests.union.world import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.trees import Node
    from tests.union.conftest import MakeWorld
    from tests.union.world import World

_IMAGE: dict[str, Node] = {"data/hidden": File(b"layer"), "run/lock": Dir(), "f": File(b"f")}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    build(tmp_path / "host", {"a": File(b"A"), "d/b": File(b"B"), "l": HardLink("a")})
    return tmp_path / "host"


def _volume(source: Path, target: str, *, read_only: bool = False) -> tuple[Volume, ...]:
    return (Volume(os.fsencode(source), os.fsencode(target), read_only),)


@pytest.mark.parametrize("read_only", [False, True], ids=["with upper", "read-only union"])
def test_a_volume_takes_a_directorys_place(
    make_world: MakeWorld, host: Path, *, read_only: bool
) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data"), read_only=read_only)

    assert world.names("data") == {b"a", b"d", b"l"}
    world.write("data/a", b"new")
    world.put("data/d/c", b"C", 0o4711)
    world.unlink("data/d/b")
    world.rename("data/d/c", "data/e")
    world.mkdir("data/sub", 0o2775)
    world.symlink(b"x", "data/s")
    world.mknod("data/p", stat.S_IFIFO | 0o600)

    assert (host / "l").read_bytes() == b"new"
    assert (host / "e").read_bytes() == b"C"
    assert stat.S_IMODE((host / "e").stat().st_mode) == 0o4711
    assert stat.S_IMODE((host / "sub").stat().st_mode) == 0o2775
    assert os.listdir(host / "d") == []
    assert not world.at("data").cacheable
    assert not world.at("data/d").cacheable
    world.rmdir("data/d")
    assert os.listdir(world.upper) == []
    assert world.stat("data/a").nlink == 2


@pytest.mark.parametrize("read_only", [False, True], ids=["with upper", "read-only union"])
def test_a_path_that_no_layer_has_is_made(
    make_world: MakeWorld, host: Path, *, read_only: bool
) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/new/deep/vol"), read_only=read_only)

    assert world.read("new/deep/vol/a") == b"A"
    assert world.names("new") == {b"deep"}
    assert world.mode("new") == 0o755
    world.forget()
    assert world.names("new/deep") == {b"vol"}


def test_links_that_multiply_are_not_followed_for_ever(make_world: MakeWorld, host: Path) -> None:
    """Ten to the power of thirty steps, by links of which no way crosses more than thirty."""
    links: dict[str, Node] = {f"l{n}": Symlink(f"l{n + 1}/../" * 10) for n in range(30)}

    with refused(errno.ELOOP):
        make_world({**links, "l30": Dir()}, volumes=_volume(host, "/l0/data"))


def test_a_volume_below_a_very_long_path(make_world: MakeWorld, host: Path) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/n" * 1500))

    assert world.read("n/" * 1500 + "a") == b"A"


def test_volumes_in_volumes(make_world: MakeWorld, host: Path, tmp_path: Path) -> None:
    build(tmp_path / "inner", {"x": File(b"X")})
    volumes = (
        Volume(os.fsencode(tmp_path / "inner"), b"/data/d/in"),
        Volume(os.fsencode(host), b"/data"),
        Volume(os.fsencode(tmp_path / "inner"), b"/run", read_only=True),
    )
    world = make_world(_IMAGE, volumes=volumes)

    assert world.read("data/d/in/x") == b"X"
    assert world.names("data/d") == {b"b", b"in"}
    assert (host / "d/in").is_dir()
    with refused(errno.EROFS):
        world.write("run/x", b"no")
    world.write("data/d/in/x", b"yes")
    assert world.read("run/x") == b"yes"


def test_a_read_only_volume_refuses_every_change(make_world: MakeWorld, host: Path) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data", read_only=True))

    for call in (
        lambda: world.write("data/a", b"x"),
        lambda: world.change("data/a", mode=0o600),
        lambda: world.change("data/d", uid=1),
        lambda: world.change("data/a", size=0),
        lambda: world.put("data/n"),
        lambda: world.mkdir("data/n"),
        lambda: world.symlink(b"x", "data/n"),
        lambda: world.link("data/a", "data/n"),
        lambda: world.unlink("data/a"),
        lambda: world.rmdir("data/d") if not os.unlink(host / "d/b") else None,
        lambda: world.rename("data/a", "data/n"),
        lambda: world.set_xattr("data/a", b"user.x", b""),
        lambda: world.union.create_temporary(world.at("data"), 0o600, ROOT),
        lambda: world.union.open_file(world.at("data/a"), write=True),
    ):
        with refused(errno.EROFS):
            call()
    assert world.read("data/a") == b"A"


@pytest.mark.parametrize("target", ["/var/run/app", "/var/run", "/dotted/app", "/chain/app"])
def test_the_way_leads_through_links_of_the_image(
    make_world: MakeWorld, host: Path, target: str
) -> None:
    image = {
        "run": Dir(),
        "var/run": Symlink("/run"),
        "dotted": Symlink("var/../var/run"),
        "chain": Symlink("dotted"),
    }
    world = make_world(image, volumes=_volume(host, target))

    assert world.read("run" + ("/app" if target.endswith("/app") else "") + "/a") == b"A"
    assert world.read_link("var/run") == b"/run"


@pytest.mark.parametrize(
    ("target", "number"),
    [("/f", errno.ENOTDIR), ("/f/x", errno.ENOTDIR), ("/loop", errno.ELOOP), ("/", errno.EINVAL)],
)
def test_a_target_that_cannot_be(
    make_world: MakeWorld, host: Path, target: str, number: int
) -> None:
    with refused(number):
        make_world(_IMAGE | {"loop": Symlink("loop")}, volumes=_volume(host, target))


def test_a_target_that_is_the_root_after_all(make_world: MakeWorld, host: Path) -> None:
    with refused(errno.EINVAL):
        make_world({"l": Symlink("/")}, volumes=_volume(host, "/l"))


def test_a_source_that_is_not_there(make_world: MakeWorld, tmp_path: Path) -> None:
    with refused(errno.ENOENT):
        make_world(_IMAGE, volumes=_volume(tmp_path / "nowhere", "/data"))


def test_nothing_crosses_the_edge(make_world: MakeWorld, host: Path) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))

    for call in (
        lambda: world.rename("f", "data/f"),
        lambda: world.rename("data/a", "a"),
        lambda: world.rename("data/a", "f", 2),
        lambda: world.rename("run/lock", "data/lock"),
        lambda: world.link("f", "data/f"),
        lambda: world.link("data/a", "a"),
    ):
        with refused(errno.EXDEV):
            call()


def test_a_rename_that_must_not_replace_heeds_who_was_faster(
    make_world: MakeWorld, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    rename = files.rename

    def rename_too_late(*arguments: int | bytes) -> None:
        (host / "taken").write_bytes(b"theirs")
        rename(*arguments)

    monkeypatch.setattr(files, "rename", rename_too_late)
    with refused(errno.EEXIST):
        world.rename("data/a", "data/taken", files.RENAME_NOREPLACE)

    assert world.read("data/taken") == b"theirs"
    assert world.read("data/a") == b"A"


def test_a_file_without_a_name_does_not_cross_the_edge_either(
    make_world: MakeWorld, host: Path
) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    inside = world.hold(world.union.create_temporary(world.at("data"), 0o600, ROOT))
    outside = world.hold(world.union.create_temporary(world.union.root, 0o600, ROOT))

    with refused(errno.EXDEV):
        world.union.link(inside, world.union.root, b"t")
    with refused(errno.EXDEV):
        world.union.link(outside, world.at("data"), b"t")
    world.union.link(inside, world.at("data"), b"in")
    world.union.link(outside, world.union.root, b"out")


def test_the_edge_itself_is_busy(make_world: MakeWorld, host: Path) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))

    for call in (
        lambda: world.rmdir("data"),
        lambda: world.unlink("data"),
        lambda: world.rename("data", "moved"),
        lambda: world.rename("run", "data"),
        lambda: world.rename("run", "data", 2),
    ):
        with refused(errno.EBUSY):
            call()
    with refused(errno.EEXIST):
        world.mkdir("data")


def test_a_directory_with_a_volume_in_it_moves_but_does_not_go(
    make_world: MakeWorld, host: Path
) -> None:
    world = make_world({"p/data": Dir()}, volumes=_volume(host, "/p/data"))

    with refused(errno.ENOTEMPTY):
        world.rmdir("p")
    world.rename("p", "q")

    assert world.read("q/data/a") == b"A"


def test_what_others_change_shows(make_world: MakeWorld, host: Path) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    node = world.at("data/a")

    (host / "a").write_bytes(b"longer")
    (host / "n").write_bytes(b"N")
    (host / "d/b").rename(host / "moved")
    (host / "d").rename(host / "D")
    (host / "D/late").write_bytes(b"late")

    assert world.union.read(node, 0, 100) == b"longer"
    assert world.names("data") == {b"a", b"l", b"n", b"D", b"moved"}
    assert world.find("data/d") is None
    assert world.read("data/moved") == b"B"
    assert world.read("data/D/late") == b"late"


@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_others_rename_is_followed(
    make_world: MakeWorld, host: Path, *, linked: bool
) -> None:
    name = "a" if linked else "n"
    (host / name).write_bytes(b"data")
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    node = world.at(f"data/{name}")

    (host / name).rename(host / "d/new")

    assert world.at("data/d/new") is node
    assert world.union.attributes(node).size == 4
    world.change("data/d/new", mode=0o600)
    world.unlink("data/d/new")
    assert world.union.read(node, 0, 9) == b"data"


def test_a_file_that_others_replace_by_one_of_another_type(
    make_world: MakeWorld, host: Path
) -> None:
    """The host may give the new object the number of the old one at once."""
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    for turn in range(4):
        (host / "x").write_bytes(b"file")
        before = world.at("data/x")
        (host / "x").unlink()
        os.mkfifo(host / "x")
        after = world.at("data/x")
        assert stat.S_ISREG(before.mode)
        assert stat.S_ISFIFO(after.mode), turn
        (host / "x").unlink()
        world.find("data/x")


def test_what_is_made_in_a_volume_has_its_creators_owner(make_world: MakeWorld, host: Path) -> None:
    from overlayfs_py.union.values import Creator

    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    world.mkdir("data/m", 0o750, Creator(7, 8))

    assert (host / "m").stat().st_uid == 7
    assert (host / "m").stat().st_gid == 8


def test_marks_mean_nothing_in_a_volume(make_world: MakeWorld, host: Path) -> None:
    os.mknod(host / "null", stat.S_IFCHR | 0o600, os.makedev(0, 0))
    (host / ".wh.a").touch()
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))

    assert world.names("data") == {b"a", b"l", b"d", b"null", b".wh.a"}
    assert stat.S_ISCHR(world.at("data/null").mode)
    world.put("data/.wh.b")
    assert (host / ".wh.b").exists()


def test_names_and_values_of_xattrs_are_of_one_directory(make_world: MakeWorld, host: Path) -> None:
    """Of the one that the node was, where somebody else put another in its place."""
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    node = world.at("data/d")
    world.names("data/d")  # leaves a descriptor of the old one
    (host / "d").rename(host / "moved")
    (host / "d").mkdir()
    os.setxattr(host / "moved", b"user.old", b"")
    os.setxattr(host / "d", b"user.new", b"")

    assert world.union.list_xattrs(node) == [b"user.old"]
    assert world.union.get_xattr(node, b"user.old") == b""
    assert world.union.lacks_xattr(node, b"user.new")
    assert world.xattrs("data/d") == {b"user.new": b""}


@pytest.mark.parametrize(
    "name", [b"user.overlay.a", b"trusted.overlay.opaque", b"user.fuseoverlayfs.x"]
)
def test_xattrs_have_the_hosts_names(make_world: MakeWorld, host: Path, name: bytes) -> None:
    """Nothing is a mark in a volume, so nothing is hidden or escaped."""
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    os.setxattr(host / "d", name, b"theirs")
    world.set_xattr("data/a", name, b"ours")

    assert world.xattrs("data/d") == {name: b"theirs"}
    assert os.getxattr(host / "a", name) == b"ours"
    world.union.remove_xattr(world.at("data/a"), name)
    assert os.listxattr(host / "a") == []


def _forget_descriptors(world: World) -> None:
    """As many others in use would."""
    world.union._state.directories.clear()
    world.union._state.readers.clear()


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
def test_what_was_replaced_while_no_descriptor_kept_it_is_stale(
    make_world: MakeWorld, host: Path, kind: str
) -> None:
    """Never the one that has its name, nor the one that has its number."""
    make = {
        "file": lambda path: path.write_bytes(b"theirs"),
        "directory": lambda path: path.mkdir(0o700),
        "link": lambda path: path.symlink_to("theirs"),
    }[kind]
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    make(host / "x")
    node = world.at("data/x")
    number = (host / "x").lstat().st_ino
    (host / "x").rmdir() if kind == "directory" else (host / "x").unlink()
    _forget_descriptors(world)
    # Filesystems give a free number to the next object, or one of the next, if at all.
    make(host / "x")
    for count in range(64):
        if (host / "x").lstat().st_ino == number:
            break
        (host / "x").rename(host / f"not {count}")
        make(host / "x")
    before = (host / "x").lstat()

    union = world.union
    for call in (
        lambda: union.attributes(node),
        lambda: union.change_attributes(node, AttributeChange(mode=0o4777)),
        lambda: union.change_attributes(node, AttributeChange(uid=1)),
        lambda: union.change_attributes(node, AttributeChange(mtime_ns=1)),
        lambda: union.set_xattr(node, b"user.a", b"b"),
        lambda: union.list_xattrs(node),
        lambda: (
            union.names(node) if kind == "directory" else union.link(node, world.at("data"), b"n")
        ),
        lambda: union.read_link(node) if kind == "link" else union.attributes(node),
        lambda: union.read(node, 0, 9) if kind == "file" else union.attributes(node),
        lambda: union.write(node, 0, b"9") if kind == "file" else union.attributes(node),
    ):
        with refused(errno.ESTALE):
            call()
    assert (host / "x").lstat() == before
    fresh = world.at("data/x")
    assert fresh is not node
    assert fresh.ino != node.ino
    assert world.at("data/x") is fresh
    world.change("data/x", uid=5)
    assert (host / "x").lstat().st_uid == 5
    world.forget()


def test_a_descriptor_that_was_closed_is_opened_again(make_world: MakeWorld, host: Path) -> None:
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    file, directory = world.at("data/a"), world.at("data/d")
    for _ in range(2):
        _forget_descriptors(world)
        assert world.union.read(file, 0, 9) == b"A"
        assert world.union.names(directory) == [b"b"]
        assert world.at("data/a") is file
        assert world.at("data/d") is directory


def test_a_file_is_opened_that_was_made_whatever_has_its_name_by_then(
    make_world: MakeWorld, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has asked who may open what another has put there."""
    world = make_world(_IMAGE, volumes=_volume(host, "/data"))
    (host / "secret").write_bytes(b"secret")
    opened = os.open

    def open_and_swap(path: bytes, flags: int, *rest: int, **options: int) -> int:
        fd = opened(path, flags, *rest, **options)
        if path == b"new" and flags & os.O_CREAT:
            (host / "secret").rename(host / "new")
        return fd

    monkeypatch.setattr(os, "open", open_and_swap)
    node, found = world.union.create_file(world.at("data"), b"new", 0o644, ROOT)
    world.hold(node)

    assert world.union.read(node, 0, 9) == b""
    assert found.size == 0
    world.union.write(node, 0, b"mine")
    assert (host / "new").read_bytes() == b"secret"
