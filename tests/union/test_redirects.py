"""Redirects as the kernel writes them: layers made by renames on a kernel mount, read by ours."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.union import renames
from tests.support.mounts import kernel_overlay
from tests.support.snapshot import differences, snapshot
from tests.support.trees import Dir, File, Symlink, Whiteout, build
from tests.union.deep import dig
from tests.union.refusal import refused
from tests.union.view import view
from tests.union.world import World

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.support.snapshot import Snapshot
    from tests.union.conftest import MakeWorld
_BOTTOM = {
    "a/b/c/file": File(b"abc"),
    "a/b/side": File(b"side"),
    "a/other": File(b"other"),
    "d/e/f": File(b"def"),
    "top": File(b"top"),
}

Step = tuple[str, ...]  # mv FROM TO, or + FILE, or - PATH, or mkdir PATH

_STORIES: dict[str, list[list[Step]]] = {
    "relative": [[("mv", "a", "A")]],
    "absolute": [[("mv", "a/b", "d/B")]],
    "relative then absolute": [[("mv", "a/b", "a/B"), ("mv", "a/B", "B")]],
    "absolute then relative": [[("mv", "a/b", "B"), ("mv", "B", "C")]],
    "below a renamed directory": [[("mv", "a", "A"), ("mv", "A/b", "A/B"), ("mv", "A/B/c", "C")]],
    "parent renamed after": [[("mv", "a/b", "a/B"), ("mv", "a", "A"), ("+", "A/B/new")]],
    "into itself renamed": [[("mv", "a/b", "x"), ("mv", "a", "x/a")]],
    "old name made again": [[("mv", "a", "A"), ("mkdir", "a"), ("+", "a/new")]],
    "two swap names": [[("mv", "a", "t"), ("mv", "d", "a"), ("mv", "t", "d")]],
    "chain over layers": [
        [("mv", "a", "A")],
        [("mv", "A", "AA"), ("+", "AA/second")],
        [("mv", "AA/b", "B"), ("-", "B/side")],
    ],
    "intermediate redirects": [
        [("mv", "a", "A")],
        [("mv", "A/b", "d/b")],
        [("mv", "d/b/c", "C"), ("mv", "d", "D")],
        [("mv", "C", "D/b/c"), ("+", "D/b/c/new")],
    ],
    "deleted in the middle": [
        [("mv", "a/b", "B")],
        [("-r", "a")],
        [("mkdir", "a"), ("mv", "B", "a/b")],
    ],
    "merged with its namesake": [
        [("mv", "a", "A"), ("mkdir", "a"), ("+", "a/new")],
        [("mv", "a", "z"), ("mv", "A", "a")],
    ],
}


def _perform(root: Path, step: Step) -> None:
    match step:
        case ("mv", old, new):
            os.rename(root / old, root / new)
        case ("+", name):
            (root / name).write_bytes(name.encode())
        case ("-", name):
            (root / name).unlink()
        case ("mkdir", name):
            (root / name).mkdir()
        case ("-r", name):
            _remove(root / name)


def _remove(directory: Path) -> None:
    for child in directory.iterdir():
        if child.is_dir():
            _remove(child)
        else:
            child.unlink()
    directory.rmdir()


def _tell(base: Path, story: list[list[Step]]) -> list[Path]:
    """Make a layer per chapter on kernel mounts; returns the stack, topmost first."""
    build(base / "bottom", _BOTTOM)
    stack = [base / "bottom"]
    for number, chapter in enumerate(story):
        place = base / f"chapter{number}"
        place.mkdir()
        with kernel_overlay(place, stack) as mounted:
            for step in chapter:
                _perform(mounted.root, step)
        stack.insert(0, place / "upper")
    return stack


def _kernel_view(base: Path, stack: Sequence[Path], upper: Path | None = None) -> Snapshot:
    base.mkdir()
    work = None if upper is None else upper.parent / "work"
    with kernel_overlay(base, stack, upper=upper or True, work=work) as mounted:
        return snapshot(mounted.root, check_inodes=False)


@pytest.mark.parametrize("story", _STORIES)
def test_layers_of_the_kernel_show_what_the_kernel_shows(
    make_world: MakeWorld, tmp_path: Path, story: str
) -> None:
    stack = _tell(tmp_path, _STORIES[story])
    expected = _kernel_view(tmp_path / "read", stack)

    world = make_world(*stack)

    assert not differences(expected, view(world))


@pytest.mark.parametrize("story", _STORIES)
def test_the_kernel_reads_our_redirects(make_world: MakeWorld, tmp_path: Path, story: str) -> None:
    build(tmp_path / "bottom", _BOTTOM)
    stack = [tmp_path / "bottom"]
    for number, chapter in enumerate(_STORIES[story]):
        world = make_world(*stack)
        for step in chapter:
            _perform_ours(world, step)
        ours = view(world)
        world.close()
        kernel = _kernel_view(tmp_path / f"kernel{number}", stack, world.upper)
        assert not differences(kernel, ours)
        again = make_world(*stack, upper=world.upper)
        assert not differences(ours, view(again))
        again.close()
        stack.insert(0, world.upper)


def _perform_ours(world: World, step: Step) -> None:
    match step:
        case ("mv", old, new):
            world.rename(old, new)
        case ("+", name):
            world.put(name, name.encode())
        case ("-", name):
            world.unlink(name)
        case ("mkdir", name):
            world.mkdir(name)
        case ("-r", name):
            _remove_ours(world, name)


def _remove_ours(world: World, directory: str) -> None:
    for name in sorted(world.names(directory)):
        child = f"{directory}/{name.decode()}"
        if world.at(child).is_directory:
            _remove_ours(world, child)
        else:
            world.unlink(child)
    world.rmdir(directory)


def test_without_redirects_a_layers_directory_stays(make_world: MakeWorld) -> None:
    world = make_world(_BOTTOM, redirect_dir=False)
    world.mkdir("new")

    for old, new in (("a", "A"), ("a/b", "B")):
        with refused(errno.EXDEV):
            world.rename(old, new)
    world.rename("new", "newer")
    world.rename("top", "a/top")
    assert world.names() == {b"a", b"d", b"newer"}


def test_without_redirects_an_emptied_directory_may_be_replaced(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    world = make_world({"d/x": File()}, redirect_dir=False)
    world.unlink("d/x")
    world.mkdir("new")
    world.put("new/y")

    world.rename("new", "d")

    assert world.names("d") == {b"y"}


def test_a_directory_that_makes_way_keeps_its_looks_until_then(make_world: MakeWorld) -> None:
    """Where its whiteouts must go first, a kill before the rename itself shows no change."""
    world = make_world({"d": Dir(mode=0o2751, uid=3, mtime_ns=10**18), "d/x": File()})
    world.unlink("d/x")
    world.set_xattr("d", b"user.a", b"1")
    world.change("d", mtime_ns=10**18, atime_ns=10**18)
    before = view(world, mtime=True)[b"d"]
    node = world.at("d")
    end = renames.End(world.union.root, b"d", node)

    renames._make_way(world.union._state, node, end)

    assert view(world, mtime=True)[b"d"] == before
    world.reopen()
    assert view(world, mtime=True)[b"d"] == before
    assert os.listdir(world.upper / "d") == []


def test_a_path_too_long_for_an_xattr_is_another_device(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    """mv(1) then copies, as it does on kernel overlayfs."""
    innermost = dig(tmp_path / "deep", 25, b"d" * 200)
    os.mkdir(b"x", dir_fd=innermost)
    os.close(innermost)
    world = make_world(tmp_path / "deep")
    directory = "/".join(["d" * 200] * 25)

    with refused(errno.EXDEV):
        world.rename(f"{directory}/x", "x")
    world.rename(f"{directory}/x", f"{directory}/y")
    assert world.names(directory) == {b"y"}


@pytest.mark.parametrize(
    "redirect",
    [b"..", b"/..", b"../../etc", b"/../etc", b"/", b"", b".", b"a/b", b"//a", b"/a/", b"/a//b"],
)
@pytest.mark.parametrize("as_upper", [False, True], ids=["layer", "upper"])
def test_an_odd_redirect_counts_for_nothing(
    make_world: MakeWorld, redirect: bytes, *, as_upper: bool
) -> None:
    bottom = {"a/b/f": File(), "x/low": File(), "f": File()}
    top = {"x": Dir(xattrs={"trusted.overlay.redirect": redirect}), "x/top": File()}

    world = make_world(bottom, upper=top) if as_upper else make_world(top, bottom)

    assert world.names("x") == {b"top", b"low"}


def test_a_redirect_to_a_link_or_a_file_leads_nowhere(make_world: MakeWorld) -> None:
    redirected = {
        "x": Dir(xattrs={"trusted.overlay.redirect": b"/link"}),
        "y": Dir(xattrs={"trusted.overlay.redirect": b"/file"}),
        "z": Dir(xattrs={"trusted.overlay.redirect": b"/link/etc"}),
        "gone": Dir(xattrs={"trusted.overlay.redirect": b"/nowhere"}),
    }
    world = make_world(redirected, {"link": Symlink("/"), "file": File(), "etc/f": File()})

    assert [world.names(name) for name in redirected] == [set()] * 4


def test_a_redirect_ends_at_a_whiteout(make_world: MakeWorld) -> None:
    world = make_world(
        {"x": Dir(xattrs={"trusted.overlay.redirect": b"/d/e"})},
        {"d/e": Whiteout()},
        {"d/e/f": File()},
    )

    assert world.names("x") == set()


def test_a_directory_reached_twice_is_served(make_world: MakeWorld) -> None:
    """The layers contradict themselves: whatever is shown, nothing may loop or fail."""
    world = make_world(
        {"a/b": Dir(xattrs={"trusted.overlay.redirect": b"/a"})}, {"a/b/f": File(), "a/g": File()}
    )

    assert world.names("a/b") == {b"b", b"g"}
    assert world.names("a") == {b"b", b"g"}
    world.forget()


@pytest.mark.parametrize("inside", ["c", "d/c"], ids=["itself", "its directory"])
@pytest.mark.parametrize("kind", ["whole", "part"])
def test_what_a_file_deletes_below_a_directory_stays_deleted_when_that_moves(
    make_world: MakeWorld, inside: str, kind: str
) -> None:
    """`.wh.c` beside `c`: engines leave it so where a layer has removed `c` and made it anew."""
    above, _, name = inside.rpartition("/")
    top = {f"{inside}/new": File(), f"{above}/.wh.{name}".lstrip("/"): File()}
    world = make_world(top, {f"{inside}/old/x": File()})
    moved = inside if kind == "part" else inside.split("/", maxsplit=1)[0]
    target = "elsewhere" if kind == "part" else "other"

    world.rename(moved, target)
    world.put("mark")
    before = view(world)
    world.reopen()

    assert view(world) == before
    assert not [path for path in before if b"old" in path]


def test_what_a_file_deletes_on_the_way_of_a_redirect_stays_deleted(make_world: MakeWorld) -> None:
    world = make_world(
        {"x": Dir(xattrs={"trusted.overlay.redirect": b"/d/c"})},
        {"d/c/new": File(), ".wh.d": File()},
        {"d/c/old": File()},
    )

    assert world.names("x") == {b"new"}


@pytest.mark.parametrize("redirect", [b"n" * 256, b"/" + b"n" * 256, b"/a/" + b"n" * 300])
def test_a_redirect_to_a_name_that_is_too_long_leads_nowhere(
    make_world: MakeWorld, redirect: bytes
) -> None:
    """As in the kernel (fs/overlayfs/namei.c, ovl_lookup_single)."""
    top = {"x": Dir(xattrs={"trusted.overlay.redirect": redirect}), "x/top": File()}
    world = make_world(top, {"x/low": File(), "a": Dir()})

    assert world.names() == {b"x", b"a"}
    assert world.names("x") == {b"top"}


_NOFOLLOW = {"redirect_dir": "nofollow", "metacopy": "off", "index": "off"}


def test_nofollow_refuses_what_a_redirect_leads_elsewhere(
    tmp_path: Path,
) -> None:
    """As the kernel: the directory cannot be looked up; what no layer adds to shows."""
    redirected = {b"trusted.overlay.redirect": b"/a"}
    upper = {
        "moved": Dir(xattrs=redirected),
        "opaque": Dir(xattrs={**redirected, b"trusted.overlay.opaque": b"y"}),
        "plain": Dir(),
        "plain/x": File(),
    }
    middle = {"lower moved": Dir(xattrs=redirected)}
    world = World(
        tmp_path / "world",
        middle,
        _BOTTOM,
        upper=upper,
        redirect_dir=False,
        follows_redirects=False,
    )
    names = [b"moved", b"opaque", b"plain", b"lower moved", b"a"]

    def ours(name: bytes) -> list[bytes] | int:
        try:
            return sorted(world.names(name))
        except PermissionError as error:
            return error.errno

    seen = {name: ours(name) for name in names}
    world.close()
    kernels: dict[bytes, list[bytes] | int] = {}
    (tmp_path / "kernel").mkdir()
    with kernel_overlay(
        tmp_path / "kernel", world.lowers, upper=world.upper, work=world.work, options=_NOFOLLOW
    ) as mounted:
        for name in names:
            try:
                kernels[name] = sorted(os.listdir(os.fsencode(mounted.root) + b"/" + name))
            except PermissionError as error:
                kernels[name] = error.errno

    assert seen == kernels
    assert seen[b"moved"] == seen[b"lower moved"] == errno.EPERM
    world.reopen()
    with refused(errno.EXDEV):
        world.rename("a", "b")
    world.close()
