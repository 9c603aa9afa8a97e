"""st_ino and st_dev: one number per object for as long as it lives."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.posix.calls import RENAME_EXCHANGE, rename
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import unchanged
from tests.posix.prepared import VISIBLE
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path


@check()
def every_object_has_a_number_of_its_own(root: Path) -> None:
    numbers = [os.lstat(root / name).st_ino for name in VISIBLE if name != "second"]
    assert len(numbers) == len(set(numbers))
    assert 0 not in numbers


@check()
def the_whole_tree_is_one_filesystem(root: Path) -> None:
    device = os.lstat(root).st_dev
    overwrite(root / "file", b"x")
    create(root / "new")
    os.mkdir(root / "newdir")
    for name in (*VISIBLE, "new", "newdir"):
        assert os.lstat(root / name).st_dev == device, name


@check()
def a_file_keeps_its_number_when_written(root: Path) -> None:
    for name in ("file", "big", "first", "full/05"):
        with unchanged(root / name, "st_ino", "st_dev"):
            overwrite(root / name, b"x")


@check()
def every_object_keeps_its_number_when_its_attributes_change(root: Path) -> None:
    for name in VISIBLE:
        with unchanged(root / name, "st_ino", "st_dev"):
            os.chown(root / name, 1, 1, follow_symlinks=False)
        with unchanged(root / name, "st_ino", "st_dev"):
            os.setxattr(root / name, "trusted.x", b"1", follow_symlinks=False)


@check()
def every_object_keeps_its_number_when_renamed(root: Path) -> None:
    tops = [name for name in VISIBLE if name and "/" not in name]
    for name in tops:
        before = os.lstat(root / name)
        os.rename(root / name, root / f"renamed-{name}")
        after = os.lstat(root / f"renamed-{name}")
        assert (after.st_ino, after.st_dev) == (before.st_ino, before.st_dev), name


@check()
def what_is_in_a_renamed_directory_keeps_its_number(root: Path) -> None:
    inside = ("a", "b", "sub", "sub/deep")
    before = [os.lstat(root / "dir" / name).st_ino for name in inside]
    os.rename(root / "dir", root / "moved")
    assert [os.lstat(root / "moved" / name).st_ino for name in inside] == before
    overwrite(root / "moved/sub/deep", b"x")
    assert [os.lstat(root / "moved" / name).st_ino for name in inside] == before


@check()
def a_directory_keeps_its_number_when_worked_in(root: Path) -> None:
    with unchanged(root / "dir", "st_ino"), unchanged(root / "dir/sub", "st_ino"):
        create(root / "dir/sub/new")
        os.unlink(root / "dir/a")
        os.rename(root / "dir/b", root / "dir/sub/b")


@check()
def exchanged_objects_exchange_their_numbers(root: Path) -> None:
    before = [os.lstat(root / name).st_ino for name in ("file", "dir")]
    rename(root / "file", root / "dir", RENAME_EXCHANGE)
    assert [os.lstat(root / name).st_ino for name in ("dir", "file")] == before


@check()
def a_descriptor_and_its_name_agree(root: Path) -> None:
    with opened(root / "file") as descriptor:
        overwrite(root / "file", b"x")
        assert os.path.samestat(os.fstat(descriptor), os.lstat(root / "file"))
        os.rename(root / "file", root / "moved")
        assert os.path.samestat(os.fstat(descriptor), os.lstat(root / "moved"))


@check()
def a_descriptor_and_its_name_agree_on_everything(root: Path) -> None:
    with opened(root / "attrs") as descriptor, opened(root / "dir") as directory:
        for change in (
            lambda: os.chmod(root / "attrs", 0o600),
            lambda: overwrite(root / "attrs", b"y" * 50),
            lambda: os.chown(root / "attrs", 5, 6),
            lambda: create(root / "dir/new"),
        ):
            change()
            assert os.fstat(descriptor) == os.lstat(root / "attrs")
            assert os.fstat(directory) == os.lstat(root / "dir")


@check()
def a_replaced_file_gives_its_name_to_another_number(root: Path) -> None:
    before = os.lstat(root / "file").st_ino
    create(root / "new", b"new")
    moved = os.lstat(root / "new").st_ino
    os.rename(root / "new", root / "file")
    assert os.lstat(root / "file").st_ino == moved != before


@check()
def new_objects_do_not_take_a_number_in_use(root: Path) -> None:
    used = {os.lstat(root / name).st_ino for name in VISIBLE}
    for number in range(50):
        create(root / f"empty/{number}")
        assert os.lstat(root / f"empty/{number}").st_ino not in used
