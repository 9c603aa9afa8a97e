"""unlink(2), and files that live on without a name."""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import advanced, is_absent, names, refused
from tests.posix.prepared import BIG, TEXT, VISIBLE
from tests.posix.registry import check
from tests.support.trees import Dir

if TYPE_CHECKING:
    from pathlib import Path


@check()
def an_unlinked_name_is_gone(root: Path) -> None:
    os.unlink(root / "file")
    assert is_absent(root / "file")
    with refused(errno.ENOENT):
        os.unlink(root / "file")


@check()
def every_kind_of_object_is_unlinked(root: Path) -> None:
    for name, node in VISIBLE.items():
        if "/" not in name and not isinstance(node, Dir):
            os.unlink(root / name)
            assert is_absent(root / name), name
    assert all((root / name).is_dir() for name in names(root))


@check()
def a_name_made_again_starts_fresh(root: Path) -> None:
    os.unlink(root / "attrs")
    create(root / "attrs", b"new")
    assert (root / "attrs").read_bytes() == b"new"
    assert os.listxattr(root / "attrs") == []
    assert os.lstat(root / "attrs").st_nlink == 1


@check()
def what_is_not_there_cannot_be_unlinked(root: Path) -> None:
    for name in ("gone", "dir/gone", "gonedir/child"):
        with refused(errno.ENOENT):
            os.unlink(root / name)
    with refused(errno.ENOTDIR):
        os.unlink(root / "file" / "x")


@check()
def unlinking_a_symlink_leaves_its_target(root: Path) -> None:
    os.unlink(root / "link")
    os.unlink(root / "dirlink")
    assert (root / "file").read_bytes() == TEXT
    assert (root / "dir/a").read_bytes() == b"a"


@check()
def an_unlinked_open_file_has_no_links(root: Path) -> None:
    with opened(root / "file") as descriptor:
        assert os.fstat(descriptor).st_nlink == 1
        os.unlink(root / "file")
        assert os.fstat(descriptor).st_nlink == 0


@check()
def an_unlinked_open_file_is_still_read(root: Path) -> None:
    with opened(root / "big") as descriptor:
        os.unlink(root / "big")
        assert os.pread(descriptor, len(BIG), 0) == BIG
        assert os.fstat(descriptor).st_size == len(BIG)


@check()
def an_unlinked_open_file_is_still_written(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.unlink(root / "file")
        os.pwrite(descriptor, b"more", 1000)
        assert os.fstat(descriptor).st_size == 1004
        os.ftruncate(descriptor, 1002)
        assert os.pread(descriptor, 10, 1000) == b"mo"


@check()
def an_unlinked_open_file_still_changes_its_attributes(root: Path) -> None:
    with opened(root / "attrs") as descriptor:
        os.unlink(root / "attrs")
        os.fchmod(descriptor, 0o611)
        os.fchown(descriptor, 12, 34)
        os.utime(descriptor, ns=(5, 6))
        found = os.fstat(descriptor)
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o611, 12, 34)
    assert (found.st_atime_ns, found.st_mtime_ns) == (5, 6)


@check()
def an_unlinked_open_file_keeps_its_xattrs(root: Path) -> None:
    with opened(root / "attrs") as descriptor:
        os.unlink(root / "attrs")
        assert os.getxattr(descriptor, "user.colour") == b"blue"
        os.setxattr(descriptor, "user.colour", b"red")
        assert os.getxattr(descriptor, "user.colour") == b"red"


@check()
def a_new_file_of_the_same_name_is_another(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as old:
        os.unlink(root / "file")
        create(root / "file", b"new")
        assert os.pread(old, 100, 0) == TEXT
        os.pwrite(old, b"OLD", 0)
        assert os.fstat(old).st_ino != os.lstat(root / "file").st_ino
    assert (root / "file").read_bytes() == b"new"


@check()
def an_unlinked_file_cannot_be_linked_again(root: Path) -> None:
    with opened(root / "file") as descriptor, opened(root) as directory:
        os.unlink(root / "file")
        with refused(errno.ENOENT):
            os.link(
                f"/proc/self/fd/{descriptor}", "again", dst_dir_fd=directory, src_dir_fd=directory
            )
    assert is_absent(root / "again")


@check()
def the_other_hard_link_stays(root: Path) -> None:
    with advanced(root / "second", "st_ctime_ns"):
        os.unlink(root / "first")
    assert (root / "second").read_bytes() == b"linked\n"
    assert os.lstat(root / "second").st_nlink == 1


@check()
def an_open_file_counts_the_links_it_loses(root: Path) -> None:
    with opened(root / "first") as descriptor:
        for name, left in (("second", 1), ("first", 0)):
            os.unlink(root / name)
            assert os.fstat(descriptor).st_nlink == left
        assert os.pread(descriptor, 100, 0) == b"linked\n"


@check()
def an_unlinked_file_stays_mapped(root: Path) -> None:
    with opened(root / "big") as descriptor:
        mapped = mmap.mmap(descriptor, len(BIG), prot=mmap.PROT_READ)
    os.unlink(root / "big")
    assert mapped[:] == BIG
    mapped.close()


@check()
def a_replaced_open_file_is_still_read_and_written(root: Path) -> None:
    with opened(root / "file", os.O_RDWR) as descriptor:
        os.rename(root / "big", root / "file")
        assert os.fstat(descriptor).st_nlink == 0
        os.pwrite(descriptor, b"X", 0)
        assert os.pread(descriptor, 100, 0) == b"X" + TEXT[1:]
    assert (root / "file").read_bytes() == BIG


@check()
def a_reader_keeps_its_file_when_another_writes_and_unlinks(root: Path) -> None:
    with opened(root / "file") as reader:
        overwrite(root / "file", b"CHANGED")
        os.unlink(root / "file")
        assert os.pread(reader, 7, 0) == b"CHANGED"
        assert os.fstat(reader).st_nlink == 0
