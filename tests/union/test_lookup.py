"""Which layer shows a name, and what a listing says: every form of "deleted" and "opaque"."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

import pytest

from tests.support.trees import Dir, File, Opaque, Symlink, Whiteout
from tests.union.refusal import refused

if TYPE_CHECKING:
    from tests.support.trees import Node
    from tests.union.conftest import MakeWorld

_OPAQUE_XATTRS = ("trusted.overlay.opaque", "user.overlay.opaque", "user.fuseoverlayfs.opaque")

# Each hides d/x of the layers below.
_WHITEOUTS: dict[str, dict[str, Node]] = {
    "device": {"d/x": Whiteout()},
    "file": {"d/.wh.x": File()},
    "trusted xattr": {
        "d": Dir(xattrs={"trusted.overlay.opaque": b"x"}),
        "d/x": File(xattrs={"trusted.overlay.whiteout": b""}),
    },
    "user xattr": {
        "d": Dir(xattrs={"user.overlay.opaque": b"x"}),
        "d/x": File(xattrs={"user.overlay.whiteout": b"y"}),
    },
}
_OPAQUE: dict[str, dict[str, Node]] = {
    **{name: {"d": Dir(xattrs={name: b"y"})} for name in _OPAQUE_XATTRS},
    "file": {"d/.wh..wh..opq": File()},
}


@pytest.mark.parametrize("form", _WHITEOUTS)
@pytest.mark.parametrize("kind", [File(b"low"), Dir(), Symlink("y")], ids=["file", "dir", "link"])
@pytest.mark.parametrize("as_upper", [False, True], ids=["layer", "upper"])
def test_a_whiteout_hides_what_is_below(
    make_world: MakeWorld, form: str, kind: Node, *, as_upper: bool
) -> None:
    bottom = {"d/x": kind, "d/y": File()}
    top = _WHITEOUTS[form] | {"d/z": File()}

    user = "user" in form
    world = (
        make_world(bottom, upper=top, user_marks=user)
        if as_upper
        else make_world(top, bottom, user_marks=user)
    )

    assert world.find("d/x") is None
    assert world.names("d") == {b"y", b"z"}


@pytest.mark.parametrize("form", _WHITEOUTS)
def test_a_whiteout_in_the_only_layer_shows_nothing(make_world: MakeWorld, form: str) -> None:
    world = make_world(_WHITEOUTS[form], user_marks="user" in form)

    assert world.find("d/x") is None
    assert world.find("d/.wh.x") is None
    assert world.names("d") == set()


@pytest.mark.parametrize("form", _OPAQUE)
@pytest.mark.parametrize("as_upper", [False, True], ids=["layer", "upper"])
def test_an_opaque_directory_hides_the_layers_below(
    make_world: MakeWorld, form: str, *, as_upper: bool
) -> None:
    bottom = {"d/x": File(), "d/sub/deep": File(), "e": File()}
    top = _OPAQUE[form] | {"d/sub": Dir()}

    user = form.startswith("user.overlay")
    world = (
        make_world(bottom, upper=top, user_marks=user)
        if as_upper
        else make_world(top, bottom, user_marks=user)
    )

    assert world.names("d") == {b"sub"}
    assert world.names("d/sub") == set()
    assert world.names() == {b"d", b"e"}


def test_opaque_x_alone_hides_nothing(make_world: MakeWorld) -> None:
    world = make_world(
        {"d": Dir(xattrs={"trusted.overlay.opaque": b"x"}), "d/empty": File()},
        {"d/x": File(b"low")},
    )

    assert world.names("d") == {b"x", b"empty"}
    assert world.read("d/x") == b"low"


def test_a_whiteout_xattr_without_opaque_x_is_a_file(make_world: MakeWorld) -> None:
    world = make_world(
        {"d/x": File(xattrs={"trusted.overlay.whiteout": b""})}, {"d/x": File(b"low")}
    )

    assert world.read("d/x") == b""


def test_a_name_hidden_in_the_middle_of_the_stack(make_world: MakeWorld) -> None:
    world = make_world(
        {"d/sub/top": File()},
        {"d/sub": Whiteout(), "d/x": Whiteout()},
        {"d/sub/bottom": File(), "d/x": File(), "d/y": File()},
    )

    assert world.names("d/sub") == {b"top"}
    assert world.names("d") == {b"sub", b"y"}


def test_a_whiteout_file_beside_its_name_hides_only_what_is_below(make_world: MakeWorld) -> None:
    world = make_world(
        {"f": File(b"new"), ".wh.f": File(), "d/new": File(), ".wh.d": File()},
        {"f": File(b"old"), "d/old": File()},
    )

    assert world.read("f") == b"new"
    assert world.names("d") == {b"new"}
    assert world.names() == {b"f", b"d"}


def test_a_whiteout_file_beside_its_directory_in_the_upper(make_world: MakeWorld) -> None:
    world = make_world({"d/old": File()}, upper={"d/new": File(), ".wh.d": File()})

    assert world.names("d") == {b"new"}


@pytest.mark.parametrize("top", [File(b"top"), Dir(), Symlink("t")], ids=["file", "dir", "link"])
@pytest.mark.parametrize("below", [File(b"low"), Dir(), Symlink("l")], ids=["file", "dir", "link"])
def test_the_topmost_type_wins(make_world: MakeWorld, top: Node, below: Node) -> None:
    third = {"x/deep": File()} if isinstance(below, Dir) else {"x": below}
    world = make_world({"x": top}, third)

    merged = isinstance(top, Dir) and isinstance(below, Dir)
    assert stat.S_ISDIR(world.at("x").mode) == isinstance(top, Dir)
    assert stat.S_ISLNK(world.at("x").mode) == isinstance(top, Symlink)
    if isinstance(top, Dir):
        assert world.names("x") == ({b"deep"} if merged else set())


def test_a_file_between_two_directories_parts_them(make_world: MakeWorld) -> None:
    world = make_world({"x/a": File()}, {"x": File()}, {"x/c": File()})

    assert world.names("x") == {b"a"}


def test_aufs_housekeeping_is_not_shown(make_world: MakeWorld) -> None:
    world = make_world({".wh..wh.plnk": Dir(), ".wh..wh.aufs": File(), ".wh.": File(), "x": File()})

    assert world.names() == {b"x"}
    assert world.find(".wh..wh.plnk") is None


@pytest.mark.parametrize("depth", [30, 500])
def test_a_high_stack(make_world: MakeWorld, depth: int) -> None:
    lowers = [
        {f"d/from{n}": File(str(n).encode()), "d/shared": File(str(n).encode())}
        for n in range(depth)
    ]
    lowers[0] |= {"d/from3": Whiteout()}

    world = make_world(*lowers)

    expected = {f"from{n}".encode() for n in range(depth)} - {b"from3"} | {b"shared"}
    assert world.names("d") == expected
    assert world.read("d/shared") == b"0"
    assert world.read(f"d/from{depth - 1}") == str(depth - 1).encode()
    world.write(f"d/from{depth - 1}", b"changed")
    world.rename("d", "e")
    world.reopen()
    assert world.names("e") == expected


@pytest.mark.parametrize(
    "name",
    [b"n" * 255, b"\xff\xfe\x80", b"new\nline", b"a\\b:c", bytes(range(1, 47)), b"\xc3\xa4" * 127],
    ids=["255 bytes", "not UTF-8", "line end", "punctuation", "control", "two-byte"],
)
def test_a_name_is_any_bytes(make_world: MakeWorld, name: bytes) -> None:
    world = make_world({b"d/" + name: File(b"low")})

    assert world.names("d") == {name}
    world.write(b"d/" + name, b"up")
    world.put(b"d/" + name[::-1][:-1] + b"+")
    world.rename(b"d/" + name, b"d/moved")
    world.rename(b"d/moved", b"d/" + name)
    assert world.read(b"d/" + name) == b"upw"
    world.unlink(b"d/" + name)
    assert world.find(b"d/" + name) is None


def test_a_name_of_256_bytes_is_too_long(make_world: MakeWorld) -> None:
    world = make_world({"d/f": File()})
    name = b"d/" + b"n" * 256

    for call in (
        lambda: world.find(name),
        lambda: world.put(name),
        lambda: world.mkdir(name),
        lambda: world.unlink(name),
        lambda: world.link("d/f", name),
        lambda: world.rename("d/f", name),
    ):
        with refused(errno.ENAMETOOLONG):
            call()


def test_names_that_mean_deletions_cannot_be_made(make_world: MakeWorld) -> None:
    world = make_world({"f": File()})

    for call in (
        lambda: world.put(".wh.f"),
        lambda: world.mkdir(".wh..wh..opq"),
        lambda: world.link("f", ".wh.g"),
        lambda: world.rename("f", ".wh.f"),
    ):
        with refused(errno.EPERM):
            call()
    assert world.names() == {b"f"}


def test_an_opaque_upper_root_hides_all_layers(make_world: MakeWorld) -> None:
    world = make_world({"low": File()}, upper={"": Opaque(), "up": File()})

    assert world.names() == {b"up"}


def test_a_symlink_of_a_layer_leads_nowhere_but_to_its_target(make_world: MakeWorld) -> None:
    world = make_world({"d": Symlink("/etc")}, {"d/x": File()})

    assert world.read_link("d") == b"/etc"
    with pytest.raises(NotADirectoryError):
        world.names("d")


def test_a_lookup_below_a_file_is_refused(make_world: MakeWorld) -> None:
    world = make_world({"f": File()})

    with pytest.raises(NotADirectoryError):
        world.find("f/x")


def test_inode_numbers_are_unique_over_layers(make_world: MakeWorld) -> None:
    world = make_world({"a": File()}, {"b": File()}, upper={"c": File()})

    assert len({world.at(name).ino for name in ("", "a", "b", "c")}) == 4


def test_a_number_from_before_is_stale(make_world: MakeWorld) -> None:
    world = make_world({"a": File()})
    ino = world.at("a").ino
    world.forget()

    with refused(errno.ESTALE):
        world.union.node(ino)


_FOREIGN_MARKS: dict[str, dict[str, Node]] = {
    "redirect": {"x": Dir(xattrs={"%s.overlay.redirect": b"/secret"})},
    "opaque": {"d": Dir(xattrs={"%s.overlay.opaque": b"y"})},
    "metacopy": {
        "f": File(size=6, xattrs={"%s.overlay.metacopy": b"", "%s.overlay.redirect": b"/secret/k"})
    },
    "whiteout": {
        "d": Dir(xattrs={"%s.overlay.opaque": b"x"}),
        "d/y": File(xattrs={"%s.overlay.whiteout": b""}),
    },
}


@pytest.mark.parametrize("as_upper", [False, True], ids=["layer", "upper"])
@pytest.mark.parametrize("user_marks", [False, True], ids=["trusted", "user"])
@pytest.mark.parametrize("mark", _FOREIGN_MARKS)
def test_marks_of_the_other_namespace_mean_nothing(
    make_world: MakeWorld, mark: str, *, user_marks: bool, as_upper: bool
) -> None:
    """Whoever may write a file may set `user.overlay.*` on it: root's mount must not go by that."""
    namespace = "trusted" if user_marks else "user"
    top = {
        name: type(node)(
            **{
                **{field: getattr(node, field) for field in node.__dataclass_fields__},
                "xattrs": {key % namespace: value for key, value in node.xattrs.items()},
            }
        )
        for name, node in _FOREIGN_MARKS[mark].items()
    }
    bottom = {"d/x": File(), "secret/k": File(b"SECRET"), "x/own": File()}
    options = {"user_marks": user_marks, "metacopy": mark == "metacopy"}

    world = (
        make_world(bottom, upper=top, **options) if as_upper else make_world(top, bottom, **options)
    )

    assert b"x" in world.names("d")
    assert world.names("d") == {b"x"} | ({b"y"} if mark == "whiteout" else set())
    assert world.names("x") == {b"own"}
    if mark == "metacopy":
        assert world.read("f") == bytes(6)
