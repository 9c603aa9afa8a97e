from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers.image_difference import Difference, differences
from overlayfs_py.containers.image_files import ImageFiles, components, shown
from overlayfs_py.store.store import Store
from overlayfs_py.union.core import Union
from overlayfs_py.union.values import StackSpec
from tests.support.stored import make_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from overlayfs_py.store.images import StoredImage


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


def image(store: Store, *layers: Mapping[str, str | None]) -> StoredImage:
    return make_image(store, f"h/i:{len(store.images())}", layers=list(layers))


def paths(files: ImageFiles, start: str = "/") -> list[str]:
    return [os.fsdecode(shown(file.path)) for file in files.walk(components(start.encode()))]


def text(files: ImageFiles, path: str) -> str:
    found = files.find(components(path.encode()), follow=True)
    return b"".join(files.content(found)).decode()


def test_all_layers_are_seen_as_one_tree(store: Store) -> None:
    made = image(
        store,
        {"a": "base", "d/x": "1", "d/y": "2", "gone/z": "3"},
        {"a": "top", "d/.wh.y": "", ".wh.gone": "", "d/w": "4"},
    )

    with ImageFiles(made.layers) as files:
        assert paths(files) == ["/", "/a", "/d", "/d/w", "/d/x"]
        assert paths(files, "d") == ["/d", "/d/w", "/d/x"]
        assert text(files, "a") == "top"
        by_path = {file.path: file.layer for file in files.walk()}
        base, top = made.config.diff_ids
        assert (by_path[b"a",], by_path[b"d", b"x"], by_path[b"d",]) == (top, base, top)


def test_a_layer_may_be_there_twice(store: Store) -> None:
    """The stack of a mount may not; what the lower one shows is the upper one's."""
    layer: dict[str, str | None] = {"a": "twice", "d/x": "1"}
    made = image(store, layer, {"a": "between", ".wh.d": "", "b": "2"}, layer)

    with ImageFiles(made.layers) as files:
        assert paths(files) == ["/", "/a", "/b", "/d", "/d/x"]
        assert text(files, "a") == "twice"
        by_path = {file.path: file.layer for file in files.walk()}
        assert [by_path[b"a",], by_path[b"b",]] == [made.config.diff_ids[at] for at in (0, 1)]
    _, layers = store.use_image("h/i:0")
    with layers, Union(StackSpec(layers.lower)) as union:
        assert len(layers.lower) == 2
        assert sorted(union.names(union.root)) == [b"a", b"b", b"d"]


def test_an_image_without_layers_has_no_files(store: Store) -> None:
    with ImageFiles(image(store).layers) as files:
        assert paths(files) == []
        with pytest.raises(FileNotFoundError):
            files.find((b"a",))


def test_a_large_file_is_read_in_pieces(store: Store) -> None:
    content = "0123456789abcdef" * 200_000

    with ImageFiles(image(store, {"f": content}).layers) as files:
        found = files.find((b"f",))
        pieces = list(files.content(found))

    assert len(pieces) > 1
    assert b"".join(pieces).decode() == content


LINKS = {
    "absolute": "-> /d/f",
    "relative": "-> d/../d/./f",
    "above the root": "-> ../../../../d/f",
    "two": "-> first",
}


@pytest.mark.parametrize("target", LINKS.values(), ids=LINKS.keys())
def test_links_stay_inside_the_image(store: Store, target: str) -> None:
    made = image(store, {"d/f": "inside", "first": "-> /d/f", "link": target})

    with ImageFiles(made.layers) as files:
        assert text(files, "link") == "inside"
        assert files.read_link(files.find((b"link",))).decode() == target.removeprefix("-> ")


def test_an_absolute_link_counts_from_the_image_s_root(store: Store) -> None:
    made = image(store, {"d/link": "-> /f", "d/f": "beside", "f": "root"})

    with ImageFiles(made.layers) as files:
        assert text(files, "d/link") == "root"


def test_a_link_to_a_directory_leads_on(store: Store) -> None:
    made = image(store, {"usr/lib/f": "found", "lib": "-> usr/lib"})

    with ImageFiles(made.layers) as files:
        assert text(files, "/lib/f") == "found"
        assert text(files, "/lib/../lib/f") == "found"


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("nothing", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
        ("file/below", "Not a directory"),
        ("outside", "No such file or directory"),
    ],
)
def test_what_is_not_there_is_said(store: Store, path: str, error: str) -> None:
    made = image(store, {"loop": "-> loop", "file": "", "outside": "-> /etc/hostname"})

    with ImageFiles(made.layers) as files, pytest.raises(OSError, match=re.escape(error)):
        files.find(components(path.encode()), follow=True)


def found(store: Store, before: StoredImage, after: StoredImage) -> dict[str, tuple[str, ...]]:
    def line(difference: Difference) -> str:
        return f"{difference.kind.value} {os.fsdecode(shown(difference.path))}"

    with ImageFiles(before.layers) as old, ImageFiles(after.layers) as new:
        return {line(each): each.parts for each in differences(old, new)}


def test_an_image_does_not_differ_from_itself(store: Store) -> None:
    made = image(store, {"d/f": "1", "l": "-> x"})

    assert found(store, made, made) == {}


def test_what_was_added_changed_and_deleted(store: Store) -> None:
    base = {"same": "s", "d/changed": "1", "d/grown": "1", "d/gone": "1", "l": "-> a", "t": "x"}
    before = image(store, base)
    top = {
        "d/changed": "2",
        "d/grown": "12",
        "d/.wh.gone": "",
        "l": "-> b",
        "t/in": "",
        "new/f": "",
    }
    after = image(store, base, top)

    differing = found(store, before, after)

    # Times of directories are the builder's, and of two files written in turn they differ.
    parts = {line: set(names) - {"mtime_ns"} for line, names in differing.items()}
    assert parts == {
        "C /d/changed": {"content"},
        "D /d/gone": set(),
        "C /d/grown": {"size"},
        "C /l": {"target"},
        "A /new": set(),
        "A /new/f": set(),
        "C /t": {"type"},
        "A /t/in": set(),
    }


def test_the_same_files_in_another_layer_are_compared_by_content(store: Store) -> None:
    before, after = image(store, {"f": "12", "g": "ab"}), image(store, {"g": "ba", "f": "12"})
    for made in (before, after):
        for name in (b"f", b"g"):
            os.utime(made.layers[0].path + b"/" + name, ns=(0, 1))

    assert found(store, before, after) == {"C /g": ("content",)}


def test_attributes_and_xattrs_are_compared(store: Store) -> None:
    before, after = image(store, {"f": "1", "x": "1"}), image(store, {"x": "1", "f": "1", "y": "1"})
    for made in (before, after):
        for name in (b"f", b"x"):
            os.utime(made.layers[0].path + b"/" + name, ns=(0, 1))
    os.chmod(after.layers[0].path + b"/f", 0o4755)
    os.chown(after.layers[0].path + b"/f", 5, 6)
    os.setxattr(after.layers[0].path + b"/x", b"user.k", b"v")
    os.chmod(after.layers[0].path + b"/f", 0o4755)

    assert found(store, before, after) == {
        "C /f": ("mode", "uid", "gid"),
        "C /x": ("xattrs",),
        "A /y": (),
    }
