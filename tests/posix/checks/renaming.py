"""rename(2) and renameat2(2)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import TYPE_CHECKING

from tests.posix.calls import RENAME_EXCHANGE, RENAME_NOREPLACE, list_directory, rename
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import is_absent, names, refused
from tests.posix.prepared import BIG, COUNT, MTIME_NS, TEXT
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path


def _demand_dir(path: Path) -> None:
    """The prepared `dir`, wherever it is now."""
    assert names(path) == {"a", "b", "sub"}
    assert names(path / "sub") == {"deep"}
    assert (path / "a").read_bytes() + (path / "b").read_bytes() == b"ab"
    assert (path / "sub/deep").read_bytes() == b"deep"


@check()
def a_renamed_file_is_the_same_under_another_name(root: Path) -> None:
    before = os.lstat(root / "attrs")
    os.rename(root / "attrs", root / "new")
    after = os.lstat(root / "new")
    assert is_absent(root / "attrs")
    for field in ("st_ino", "st_mode", "st_uid", "st_gid", "st_size", "st_nlink", "st_mtime_ns"):
        assert getattr(after, field) == getattr(before, field), field
    assert os.getxattr(root / "new", "user.colour") == b"blue"
    assert (root / "new").read_bytes() == TEXT


@check()
def every_kind_of_object_is_renamed(root: Path) -> None:
    for name in ("link", "dangling", "fifo", "socket", "null", "block", "setid", "big", "kind"):
        before = os.lstat(root / name)
        os.rename(root / name, root / "dir" / name)
        after = os.lstat(root / "dir" / name)
        assert (after.st_mode, after.st_rdev) == (before.st_mode, before.st_rdev), name
        assert after.st_ino == before.st_ino, name
        assert is_absent(root / name), name


@check()
def a_renamed_file_replaces_another(root: Path) -> None:
    os.rename(root / "file", root / "big")
    assert (root / "big").read_bytes() == TEXT
    assert is_absent(root / "file")


@check()
def a_new_file_replaces_a_prepared_one(root: Path) -> None:
    create(root / "new", b"new")
    os.rename(root / "new", root / "attrs")
    assert (root / "attrs").read_bytes() == b"new"
    assert os.listxattr(root / "attrs") == []


@check()
def a_file_is_renamed_to_a_name_that_was_hidden(root: Path) -> None:
    os.rename(root / "file", root / "gone")
    assert (root / "gone").read_bytes() == TEXT
    os.rename(root / "gone", root / "dir/gone")
    assert is_absent(root / "gone")
    assert (root / "dir/gone").read_bytes() == TEXT


@check()
def a_replaced_hard_link_counts_one_less(root: Path) -> None:
    os.rename(root / "file", root / "first")
    assert os.lstat(root / "second").st_nlink == 1
    assert (root / "second").read_bytes() == b"linked\n"
    assert (root / "first").read_bytes() == TEXT


@check()
def renaming_a_hard_link_keeps_the_pair(root: Path) -> None:
    os.rename(root / "first", root / "dir/third")
    one, other = os.lstat(root / "dir/third"), os.lstat(root / "second")
    assert one.st_ino == other.st_ino
    assert one.st_nlink == other.st_nlink == 2


@check()
def renaming_onto_itself_does_nothing(root: Path) -> None:
    os.rename(root / "file", root / "file")
    assert (root / "file").read_bytes() == TEXT
    os.rename(root / "dir", root / "dir")
    _demand_dir(root / "dir")


@check()
def renaming_onto_a_hard_link_of_itself_keeps_both(root: Path) -> None:
    os.rename(root / "first", root / "second")
    assert {"first", "second"} <= names(root)
    assert os.lstat(root / "first").st_nlink == 2


@check()
def a_renamed_directory_takes_its_content_along(root: Path) -> None:
    os.rename(root / "dir", root / "moved")
    _demand_dir(root / "moved")
    assert is_absent(root / "dir")


@check()
def a_renamed_directory_keeps_its_attributes(root: Path) -> None:
    before = os.lstat(root / "attrdir")
    os.rename(root / "attrdir", root / "empty/moved")
    after = os.lstat(root / "empty/moved")
    for field in ("st_ino", "st_mode", "st_uid", "st_gid", "st_mtime_ns"):
        assert getattr(after, field) == getattr(before, field), field
    assert os.getxattr(root / "empty/moved", "user.colour") == b"green"


@check()
def a_directory_moves_to_another_parent(root: Path) -> None:
    os.rename(root / "dir", root / "full/dir")
    _demand_dir(root / "full/dir")
    assert os.path.samestat(os.lstat(root / "full/dir/.."), os.lstat(root / "full"))


@check()
def the_listing_of_a_moved_directory_names_its_new_parent(root: Path) -> None:
    os.rename(root / "dir/sub", root / "full/sub")
    with opened(root / "full/sub") as directory:
        found = {entry.name: entry.ino for entry in list_directory(directory)}
    assert found[b".."] == os.lstat(root / "full").st_ino
    assert found[b"."] == os.lstat(root / "full/sub").st_ino


@check()
def a_directory_moves_again_and_again(root: Path) -> None:
    for source, target in (
        ("dir", "one"), ("one", "full/two"), ("full/two", "opaque/three"), ("opaque/three", "dir"),
    ):  # fmt: skip
        os.rename(root / source, root / target)
        _demand_dir(root / target)
        assert is_absent(root / source)
    assert names(root / "opaque") == {"new"}


@check()
def the_old_name_of_a_directory_starts_empty(root: Path) -> None:
    os.rename(root / "dir", root / "moved")
    os.mkdir(root / "dir")
    assert names(root / "dir") == set()
    create(root / "dir/a", b"another")
    assert (root / "moved/a").read_bytes() == b"a"
    shutil.rmtree(root / "dir")
    _demand_dir(root / "moved")


@check()
def a_moved_directory_is_worked_in(root: Path) -> None:
    os.rename(root / "dir", root / "moved")
    os.unlink(root / "moved/a")
    overwrite(root / "moved/b", b"B")
    create(root / "moved/sub/new")
    os.rename(root / "moved/sub/deep", root / "moved/up")
    assert names(root / "moved") == {"b", "sub", "up"}
    assert names(root / "moved/sub") == {"new"}
    assert (root / "moved/b").read_bytes() == b"B"
    assert (root / "moved/up").read_bytes() == b"deep"


@check()
def a_child_leaves_a_moved_directory(root: Path) -> None:
    os.rename(root / "dir", root / "moved")
    os.rename(root / "moved/sub", root / "dir")
    assert names(root / "dir") == {"deep"}
    assert names(root / "moved") == {"a", "b"}


@check()
def a_moved_directory_is_removed_with_all(root: Path) -> None:
    os.rename(root / "dir", root / "moved")
    shutil.rmtree(root / "moved")
    assert is_absent(root / "moved")
    assert is_absent(root / "dir")


@check()
def moved_directories_nest(root: Path) -> None:
    os.rename(root / "dir", root / "full/dir")
    os.rename(root / "full", root / "opaque/full")
    _demand_dir(root / "opaque/full/dir")
    assert len(names(root / "opaque/full")) == COUNT + 1


@check()
def a_directory_replaces_an_empty_one(root: Path) -> None:
    os.rename(root / "dir", root / "empty")
    _demand_dir(root / "empty")
    assert is_absent(root / "dir")


@check()
def an_empty_directory_replaces_an_empty_one(root: Path) -> None:
    os.mkdir(root / "new")
    os.rename(root / "new", root / "empty")
    assert names(root / "empty") == set()
    os.rename(root / "empty", root / "gonedir")
    assert names(root / "gonedir") == set()


@check()
def a_directory_that_holds_something_is_not_replaced(root: Path) -> None:
    for target in ("dir", "opaque", "full"):
        with refused(errno.ENOTEMPTY, errno.EEXIST):
            os.rename(root / "attrdir", root / target)
    _demand_dir(root / "dir")
    assert names(root / "attrdir") == {"member"}


@check()
def files_and_directories_do_not_replace_each_other(root: Path) -> None:
    with refused(errno.EISDIR):
        os.rename(root / "file", root / "empty")
    with refused(errno.ENOTDIR):
        os.rename(root / "empty", root / "file")
    with refused(errno.ENOTDIR):
        os.rename(root / "dir", root / "dirlink")
    with refused(errno.EISDIR):
        os.rename(root / "link", root / "dir")


@check()
def a_directory_does_not_move_into_itself(root: Path) -> None:
    with refused(errno.EINVAL):
        os.rename(root / "dir", root / "dir/x")
    with refused(errno.EINVAL):
        os.rename(root / "dir", root / "dir/sub/x")
    _demand_dir(root / "dir")


@check()
def a_directory_does_not_replace_its_ancestor(root: Path) -> None:
    with refused(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(root / "dir/sub", root / "dir")
    _demand_dir(root / "dir")


@check()
def dot_is_not_renamed(root: Path) -> None:
    with refused(errno.EBUSY, errno.EINVAL):
        os.rename(f"{root}/dir/.", root / "x")
    with refused(errno.EBUSY, errno.EINVAL):
        os.rename(f"{root}/dir/sub/..", root / "x")


@check()
def rename_needs_a_source_and_a_place(root: Path) -> None:
    with refused(errno.ENOENT):
        os.rename(root / "gone", root / "x")
    with refused(errno.ENOENT):
        os.rename(root / "file", root / "gonedir/x")
    with refused(errno.ENOTDIR):
        os.rename(root / "file", root / "big/x")
    with refused(errno.ENOTDIR):
        os.rename(f"{root}/file", f"{root}/x/")


@check()
def rename_does_not_leave_the_filesystem(root: Path) -> None:
    for name in ("file", "dir"):
        with refused(errno.EXDEV):
            os.rename(root / name, "/proc/overlayfs-py-posix")
    _demand_dir(root / "dir")


@check()
def an_open_file_follows_its_rename(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.rename(root / "file", root / "dir/moved")
        os.pwrite(descriptor, b"CHANGED", 0)
    assert (root / "dir/moved").read_bytes() == b"CHANGEDd\n"


@check()
def an_open_file_follows_the_rename_of_its_directory(root: Path) -> None:
    with opened(root / "dir/sub/deep", os.O_RDWR) as descriptor:
        os.rename(root / "dir", root / "moved")
        os.pwrite(descriptor, b"DEEPER", 0)
    assert (root / "moved/sub/deep").read_bytes() == b"DEEPER"


@check()
def rename_keeps_mtime_of_what_is_moved(root: Path) -> None:
    for source, target in (("file", "new"), ("dir", "newdir"), ("link", "newlink")):
        os.rename(root / source, root / target)
        assert os.lstat(root / target).st_mtime_ns == MTIME_NS, target


@check()
def noreplace_renames_to_a_free_name_only(root: Path) -> None:
    for target in ("big", "dir", "dangling", "fifo", "file"):
        with refused(errno.EEXIST):
            rename(root / "file", root / target, RENAME_NOREPLACE)
    for target in ("gone", "dir/gone", "new"):
        rename(root / "file", root / target, RENAME_NOREPLACE)
        os.rename(root / target, root / "file")
    rename(root / "dir", root / "gonedir", RENAME_NOREPLACE)
    _demand_dir(root / "gonedir")


@check()
def exchange_swaps_two_files(root: Path) -> None:
    inodes = [os.lstat(root / name).st_ino for name in ("file", "big")]
    rename(root / "file", root / "big", RENAME_EXCHANGE)
    assert (root / "file").read_bytes() == BIG
    assert (root / "big").read_bytes() == TEXT
    assert inodes == [os.lstat(root / name).st_ino for name in ("big", "file")]


@check()
def exchange_swaps_two_directories(root: Path) -> None:
    rename(root / "dir", root / "full", RENAME_EXCHANGE)
    _demand_dir(root / "full")
    assert len(names(root / "dir")) == COUNT
    rename(root / "dir", root / "empty", RENAME_EXCHANGE)
    assert names(root / "dir") == set()


@check()
def exchange_swaps_a_file_and_a_directory(root: Path) -> None:
    rename(root / "dir", root / "full/03", RENAME_EXCHANGE)
    assert (root / "dir").read_bytes() == b"3"
    _demand_dir(root / "full/03")
    assert os.path.samestat(os.lstat(root / "full/03/.."), os.lstat(root / "full"))


@check()
def exchange_swaps_a_symlink_and_a_device(root: Path) -> None:
    rename(root / "link", root / "null", RENAME_EXCHANGE)
    assert os.readlink(root / "null") == "file"
    assert stat.S_ISCHR(os.lstat(root / "link").st_mode)


@check()
def exchange_needs_both_names(root: Path) -> None:
    with refused(errno.ENOENT):
        rename(root / "file", root / "gone", RENAME_EXCHANGE)
    with refused(errno.ENOENT):
        rename(root / "gone", root / "file", RENAME_EXCHANGE)


@check()
def exchange_refuses_a_directory_and_what_is_in_it(root: Path) -> None:
    for pair in (("dir", "dir/sub"), ("dir/sub", "dir"), ("dir", "dir/a")):
        with refused(errno.EINVAL, errno.ENOTEMPTY):
            rename(root / pair[0], root / pair[1], RENAME_EXCHANGE)
    _demand_dir(root / "dir")


@check()
def exchange_of_hard_links_keeps_both(root: Path) -> None:
    rename(root / "first", root / "second", RENAME_EXCHANGE)
    assert os.lstat(root / "first").st_ino == os.lstat(root / "second").st_ino
    assert os.lstat(root / "first").st_nlink == 2


@check()
def contradicting_flags_are_refused(root: Path) -> None:
    with refused(errno.EINVAL):
        rename(root / "file", root / "big", RENAME_EXCHANGE | RENAME_NOREPLACE)
    with refused(errno.EINVAL):
        rename(root / "file", root / "big", 1 << 20)


@check()
def a_chain_of_renames_shifts_every_file(root: Path) -> None:
    for number in range(COUNT - 1, -1, -1):
        os.rename(root / f"full/{number:02}", root / f"full/{number + 1:02}")
    assert names(root / "full") == {f"{number:02}" for number in range(1, COUNT + 1)}
    for number in range(COUNT):
        assert (root / f"full/{number + 1:02}").read_bytes() == b"%d" % number


@check()
def the_save_pattern_of_editors_replaces_the_content(root: Path) -> None:
    for content in (b"one", b"two", b"three"):
        create(root / "file.tmp", content)
        os.rename(root / "file", root / "file~")
        os.rename(root / "file.tmp", root / "file")
        assert (root / "file").read_bytes() == content
    assert (root / "file~").read_bytes() == b"two"
