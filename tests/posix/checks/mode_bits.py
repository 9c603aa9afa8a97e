"""chmod(2), chown(2), and the set-id and sticky bits."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import mode_of, names, refused, unchanged
from tests.posix.prepared import MTIME_NS, TEXT
from tests.posix.processes import ALICE, BOB, as_user, umask
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_EVERY = ("file", "dir", "fifo", "socket", "null", "block", "attrs", "big", "sticky", "full/03")


@check()
def every_mode_bit_can_be_set_and_cleared(root: Path) -> None:
    for name in _EVERY:
        kind = stat.S_IFMT(os.lstat(root / name).st_mode)
        for mode in (0o7777, 0, 0o4000, 0o2000, 0o1000, 0o421):
            os.chmod(root / name, mode)
            assert os.lstat(root / name).st_mode == kind | mode, name


@check()
def chmod_leaves_everything_else(root: Path) -> None:
    with unchanged(root / "owned", "st_size", "st_uid", "st_gid", "st_ino", "st_mtime_ns"):
        os.chmod(root / "owned", 0o644)
    assert (root / "owned").read_bytes() == TEXT


@check()
def fchmod_and_fchown_change_the_open_file(root: Path) -> None:
    with opened(root / "file") as descriptor:
        os.fchmod(descriptor, 0o604)
        os.fchown(descriptor, 21, 22)
        found = os.fstat(descriptor)
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o604, 21, 22)
    assert os.lstat(root / "file") == found


@check()
def fchmod_and_fchown_change_the_open_directory(root: Path) -> None:
    with opened(root / "dir") as descriptor:
        os.fchmod(descriptor, 0o704)
        os.fchown(descriptor, 21, 22)
    found = os.lstat(root / "dir")
    assert (found.st_mode & 0o7777, found.st_uid, found.st_gid) == (0o704, 21, 22)
    assert names(root / "dir") == {"a", "b", "sub"}


@check()
def chown_changes_what_it_is_told(root: Path) -> None:
    for name in (*_EVERY, "link", "dangling"):
        os.lchown(root / name, 31, -1)
        os.lchown(root / name, -1, 32)
        found = os.lstat(root / name)
        assert (found.st_uid, found.st_gid) == (31, 32), name
        assert found.st_mtime_ns == MTIME_NS, name


@check()
def chown_to_nobody_in_particular_changes_nothing(root: Path) -> None:
    with unchanged(root / "owned", "st_uid", "st_gid", "st_mode", "st_mtime_ns"):
        os.chown(root / "owned", -1, -1)


@check()
def large_ids_are_kept(root: Path) -> None:
    os.chown(root / "file", 2**32 - 2, 3_000_000_000)
    found = os.lstat(root / "file")
    assert (found.st_uid, found.st_gid) == (2**32 - 2, 3_000_000_000)


@check()
def a_missing_name_has_no_mode_and_no_owner(root: Path) -> None:
    with refused(errno.ENOENT):
        os.chmod(root / "gone", 0o600)
    with refused(errno.ENOENT):
        os.chown(root / "dir/gone", 1, 1)


@check()
def chown_clears_the_set_id_bits(root: Path) -> None:
    os.chown(root / "setid", ALICE, ALICE)
    assert mode_of(root / "setid") == 0o755


@check()
def chown_of_a_directory_keeps_its_bits(root: Path) -> None:
    os.chown(root / "setgid", ALICE, BOB)
    os.chown(root / "sticky", ALICE, -1)
    assert mode_of(root / "setgid") == 0o2777
    assert mode_of(root / "sticky") == 0o1777


@check()
def a_users_write_clears_the_set_id_bits(root: Path) -> None:
    os.chmod(root / "setid", 0o6777)
    as_user(lambda: overwrite(root / "setid", b"x"))
    assert mode_of(root / "setid") == 0o777


@check()
def a_users_later_write_clears_them_again(root: Path) -> None:
    create(root / "new")

    def write() -> None:
        with opened(root / "new", os.O_WRONLY) as descriptor:
            os.write(descriptor, b"x")

    for _ in range(2):
        os.chmod(root / "new", 0o6777)
        as_user(write)
        assert mode_of(root / "new") == 0o777


@check()
def roots_write_keeps_the_set_id_bits(root: Path) -> None:
    overwrite(root / "setid", b"x")
    assert mode_of(root / "setid") == 0o6755


@check()
def a_users_truncation_clears_the_set_id_bits(root: Path) -> None:
    os.chmod(root / "setid", 0o6777)
    as_user(lambda: os.truncate(root / "setid", 3))
    assert mode_of(root / "setid") == 0o777


@check()
def a_users_truncation_at_open_clears_the_set_id_bits(root: Path) -> None:
    os.chmod(root / "setid", 0o6777)
    as_user(lambda: os.close(os.open(root / "setid", os.O_WRONLY | os.O_TRUNC)))
    assert mode_of(root / "setid") == 0o777


@check()
def reading_keeps_the_set_id_bits(root: Path) -> None:
    assert as_user(lambda: (root / "setid").read_bytes()) == TEXT
    assert mode_of(root / "setid") == 0o6755


@check()
def setgid_of_a_foreign_group_is_not_granted(root: Path) -> None:
    os.chown(root / "owned", ALICE, 77)
    as_user(lambda: os.chmod(root / "owned", 0o2755), ALICE)
    assert mode_of(root / "owned") == 0o755
    as_user(lambda: os.chmod(root / "owned", 0o2755), ALICE, groups=[77])
    assert mode_of(root / "owned") == 0o2755


@check()
def what_is_made_in_a_setgid_directory_takes_its_group(root: Path) -> None:
    def make() -> None:
        with umask(0):
            create(root / "setgid/file", mode=0o644)
            os.mkdir(root / "setgid/dir", 0o755)
            os.symlink("x", root / "setgid/link")
            os.mkfifo(root / "setgid/fifo", 0o644)

    as_user(make, ALICE)
    for name in ("file", "dir", "link", "fifo"):
        found = os.lstat(root / "setgid" / name)
        assert (found.st_uid, found.st_gid) == (ALICE, BOB), name
    assert mode_of(root / "setgid/dir") == 0o2755
    assert mode_of(root / "setgid/file") == 0o644


@check()
def setgid_is_handed_down(root: Path) -> None:
    os.makedirs(root / "setgid/one/two")
    create(root / "setgid/one/two/file")
    found = os.lstat(root / "setgid/one/two/file")
    assert found.st_gid == BOB
    assert mode_of(root / "setgid/one/two") & 0o2000


@check()
def a_stranger_gets_no_setgid_file_in_a_setgid_directory(root: Path) -> None:
    def make() -> None:
        with umask(0):
            create(root / "setgid/file", mode=0o2755)

    as_user(make, ALICE)
    assert mode_of(root / "setgid/file") == 0o755


@check()
def what_moves_into_a_setgid_directory_keeps_its_group(root: Path) -> None:
    os.rename(root / "file", root / "setgid/file")
    assert os.lstat(root / "setgid/file").st_gid == 0


@check()
def sticky_names_are_their_owners(root: Path) -> None:
    bobs = root / "sticky/bobs"
    os.chmod(root, 0o777)
    for attempt in (
        lambda: os.unlink(bobs),
        lambda: os.rename(bobs, root / "sticky/alices"),
        lambda: os.rename(bobs, root / "taken"),
    ):
        with refused(errno.EPERM, errno.EACCES):
            as_user(attempt, ALICE)
    as_user(lambda: os.rename(bobs, root / "sticky/still"), BOB)
    as_user(lambda: os.unlink(root / "sticky/still"), BOB)
    assert names(root / "sticky") == set()


@check()
def a_sticky_name_is_not_replaced_by_another_user(root: Path) -> None:
    as_user(lambda: create(root / "sticky/alices", b"a"), ALICE)
    with refused(errno.EPERM, errno.EACCES):
        as_user(lambda: os.rename(root / "sticky/alices", root / "sticky/bobs"), ALICE)
    assert (root / "sticky/bobs").read_bytes() == TEXT


@check()
def the_owner_of_a_sticky_directory_removes_any_name(root: Path) -> None:
    os.chown(root / "sticky", ALICE, -1)
    as_user(lambda: os.unlink(root / "sticky/bobs"), ALICE)
    assert names(root / "sticky") == set()


@check()
def a_new_file_can_have_set_id_bits(root: Path) -> None:
    with umask(0):
        create(root / "new", mode=0o6711)
        os.mkdir(root / "newdir", 0o1733)
    assert mode_of(root / "new") == 0o6711
    assert mode_of(root / "newdir") == 0o1733
