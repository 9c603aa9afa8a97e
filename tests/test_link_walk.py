from __future__ import annotations

import errno

import pytest

from overlayfs_py.link_walk import MOST_LINKS, follow

# A tree by paths: directories are there without saying so, links have their targets.
LINKS = {
    ("lib",): b"usr/lib",
    ("abs",): b"/usr",
    ("up",): b"../../..",
    ("usr", "back"): b"..",
    ("usr", "again"): b"../abs/again2",
    ("usr", "again2"): b"lib",
    ("loop",): b"loop",
    ("last",): b"usr/lib",
}
Place = tuple[str, ...]


def child(parent: Place, name: bytes) -> Place:
    if name == b"missing":
        raise FileNotFoundError(name)
    return (*parent, name.decode())


def target(place: Place) -> bytes | None:
    return LINKS.get(place)


def walk(path: str, *, follow_last: bool = True) -> str:
    root: Place = ()
    found = follow(root, path.encode().split(b"/"), child, target, follow_last=follow_last)
    assert found[0] == ()
    return "/" + "/".join(found[-1])


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("", "/"),
        ("usr/./bin//", "/usr/bin"),
        ("lib/x", "/usr/lib/x"),
        ("usr/lib/../../../..", "/"),
        ("abs/lib", "/usr/lib"),
        ("up/etc", "/etc"),
        ("usr/back/etc", "/etc"),
        ("usr/again/x", "/usr/lib/x"),
        ("last", "/usr/lib"),
    ],
)
def test_links_stay_inside(path: str, place: str) -> None:
    assert walk(path) == place


def test_the_last_link_is_followed_only_if_asked_or_if_something_comes_after_it() -> None:
    assert walk("last", follow_last=False) == "/last"
    assert walk("last/", follow_last=False) == "/usr/lib"


def test_links_without_an_end_are_eloop_with_the_path() -> None:
    with pytest.raises(OSError, match="Too many levels") as caught:
        walk("usr/../loop/x")
    assert caught.value.errno == errno.ELOOP
    assert caught.value.filename == b"/usr/../loop/x"


def test_as_many_links_as_the_kernel_follows() -> None:
    chain = {(f"l{at}",): f"l{at + 1}".encode() for at in range(MOST_LINKS + 1)}
    root: Place = ()

    follow(root, [b"l1"], child, chain.get, follow_last=True)
    with pytest.raises(OSError, match="Too many levels"):
        follow(root, [b"l0"], child, chain.get, follow_last=True)


def test_what_is_missing_is_the_childs_error() -> None:
    with pytest.raises(FileNotFoundError):
        walk("usr/missing/x")
