"""link(2): several names of one file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import advanced, is_absent, refused, unchanged
from tests.posix.prepared import MTIME_NS, TEXT
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path


@check()
def a_link_is_another_name_of_the_file(root: Path) -> None:
    os.link(root / "file", root / "dir/other")
    one, other = os.lstat(root / "file"), os.lstat(root / "dir/other")
    assert (one.st_ino, one.st_dev) == (other.st_ino, other.st_dev)
    assert one.st_nlink == other.st_nlink == 2


@check()
def a_prepared_pair_is_one_file(root: Path) -> None:
    one, other = os.lstat(root / "first"), os.lstat(root / "second")
    assert one.st_ino == other.st_ino
    assert one.st_nlink == other.st_nlink == 2


@check()
def what_is_written_through_one_name_is_read_through_the_other(root: Path) -> None:
    overwrite(root / "first", b"LINKED")
    assert (root / "second").read_bytes() == b"LINKED\n"
    overwrite(root / "second", b"link", 2)
    assert (root / "first").read_bytes() == b"LIlink\n"


@check()
def a_pair_stays_one_file_when_written(root: Path) -> None:
    with unchanged(root / "first", "st_ino", "st_nlink"), unchanged(root / "second", "st_ino"):
        overwrite(root / "second", b"x")
    assert os.lstat(root / "first").st_ino == os.lstat(root / "second").st_ino


@check()
def a_name_opened_before_the_other_is_written_sees_it(root: Path) -> None:
    with opened(root / "first") as reader:
        overwrite(root / "second", b"SECOND")
        assert os.read(reader, 6) == b"SECOND"


@check()
def attributes_belong_to_the_file(root: Path) -> None:
    os.chmod(root / "first", 0o600)
    os.chown(root / "second", 7, 8)
    os.setxattr(root / "first", "user.new", b"1")
    os.truncate(root / "second", 3)
    found = os.lstat(root / "second")
    assert found.st_mode & 0o7777 == 0o600
    assert os.lstat(root / "first").st_uid == 7
    assert os.getxattr(root / "second", "user.new") == b"1"
    assert (root / "first").read_bytes() == b"lin"


@check()
def links_are_counted(root: Path) -> None:
    for count in range(3, 8):
        os.link(root / "first", root / f"link{count}")
        assert os.lstat(root / "second").st_nlink == count
    for count in range(7, 2, -1):
        os.unlink(root / f"link{count}")
        assert os.lstat(root / "first").st_nlink == count - 1


@check()
def the_file_outlives_its_first_name(root: Path) -> None:
    os.link(root / "file", root / "other")
    os.unlink(root / "file")
    assert is_absent(root / "file")
    assert (root / "other").read_bytes() == TEXT
    assert os.lstat(root / "other").st_nlink == 1


@check()
def a_link_changes_only_ctime_and_count(root: Path) -> None:
    with advanced(root / "file", "st_ctime_ns", "st_nlink"):
        os.link(root / "file", root / "other")
    assert os.lstat(root / "other").st_mtime_ns == MTIME_NS


@check()
def a_link_takes_a_name_that_was_hidden(root: Path) -> None:
    os.link(root / "file", root / "gone")
    os.link(root / "file", root / "dir/gone")
    assert os.lstat(root / "gone").st_nlink == 3
    assert (root / "dir/gone").read_bytes() == TEXT


@check()
def a_link_replaces_nothing(root: Path) -> None:
    for name in ("big", "dir", "dangling", "file", "second"):
        with refused(errno.EEXIST):
            os.link(root / "file", root / name)


@check()
def a_directory_has_one_name(root: Path) -> None:
    with refused(errno.EPERM):
        os.link(root / "dir", root / "other")


@check()
def a_link_needs_a_source_and_a_place(root: Path) -> None:
    with refused(errno.ENOENT):
        os.link(root / "gone", root / "x")
    with refused(errno.ENOENT):
        os.link(root / "file", root / "gonedir/x")
    with refused(errno.ENOTDIR):
        os.link(root / "file", root / "big/x")


@check()
def a_link_does_not_leave_the_filesystem(root: Path) -> None:
    with refused(errno.EXDEV):
        os.link(root / "file", "/sys/overlayfs-py-posix")


@check()
def a_symlink_itself_is_linked(root: Path) -> None:
    os.link(root / "dangling", root / "other", follow_symlinks=False)
    assert os.readlink(root / "other") == "nowhere"
    assert os.lstat(root / "dangling").st_nlink == 2
    assert os.lstat(root / "dangling").st_ino == os.lstat(root / "other").st_ino


@check()
def special_files_are_linked(root: Path) -> None:
    for name in ("fifo", "null", "socket", "block"):
        os.link(root / name, root / f"other-{name}")
        one, other = os.lstat(root / name), os.lstat(root / f"other-{name}")
        assert (one.st_ino, one.st_mode, one.st_rdev) == (
            other.st_ino,
            other.st_mode,
            other.st_rdev,
        )
        assert one.st_nlink == 2


@check()
def an_open_file_is_linked_by_its_descriptor(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor, opened(root / "dir") as directory:
        source = f"/proc/self/fd/{descriptor}"
        os.link(source, "other", src_dir_fd=directory, dst_dir_fd=directory)
        os.pwrite(descriptor, b"SHARED", 0)
    assert (root / "dir/other").read_bytes()[:6] == b"SHARED"
    assert os.lstat(root / "file").st_nlink == 2


@check()
def a_file_linked_while_open_for_reading_is_one_file(root: Path) -> None:
    with opened(root / "file") as reader:
        os.link(root / "file", root / "other")
        overwrite(root / "other", b"OTHER")
        assert os.pread(reader, 5, 0) == b"OTHER"
        assert os.fstat(reader).st_ino == os.lstat(root / "other").st_ino


@check()
def a_link_made_in_a_new_directory_survives_its_removal_elsewhere(root: Path) -> None:
    os.mkdir(root / "new")
    os.link(root / "dir/sub/deep", root / "new/deep")
    os.unlink(root / "dir/sub/deep")
    os.rmdir(root / "dir/sub")
    assert (root / "new/deep").read_bytes() == b"deep"


@check()
def many_links_in_many_directories_are_one_file(root: Path) -> None:
    places = [root / where / "name" for where in ("dir", "full", "opaque", "empty", "dir/sub")]
    create(root / "new", b"x")
    for place in places:
        os.link(root / "new", place)
    overwrite(places[2], b"y")
    assert {os.lstat(place).st_ino for place in places} == {os.lstat(root / "new").st_ino}
    assert {place.read_bytes() for place in places} == {b"y"}
