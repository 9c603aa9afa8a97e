"""POSIX access control lists, and what new objects inherit."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from tests.posix.acls import (
    ACCESS,
    DEFAULT,
    GROUP,
    GROUP_OBJ,
    MASK,
    OTHER,
    USER,
    USER_OBJ,
    acl,
    entries_of,
)
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import mode_of, refused
from tests.posix.prepared import TEXT
from tests.posix.processes import ALICE, BOB, as_user, umask
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_CAROL = 1002


def _entries(path: Path, name: str = ACCESS) -> list[tuple[int, ...]]:
    return entries_of(os.getxattr(path, name))


@check()
def a_named_user_is_let_in(root: Path) -> None:
    assert as_user(lambda: (root / "acl").read_bytes(), ALICE) == TEXT
    as_user(lambda: overwrite(root / "acl", b"ALICE"), ALICE)
    assert (root / "acl").read_bytes()[:5] == b"ALICE"
    with refused(errno.EACCES):
        as_user(lambda: (root / "acl").read_bytes(), BOB)


@check()
def a_named_group_is_let_in(root: Path) -> None:
    value = acl((USER_OBJ, 6), (GROUP_OBJ, 0), (GROUP, 4, BOB), (MASK, 4), (OTHER, 0))
    os.setxattr(root / "file", ACCESS, value)
    assert as_user(lambda: (root / "file").read_bytes(), ALICE, groups=[BOB]) == TEXT
    with refused(errno.EACCES):
        as_user(lambda: (root / "file").read_bytes(), ALICE)


@check()
def a_named_user_is_kept_out(root: Path) -> None:
    value = acl((USER_OBJ, 6), (USER, 0, ALICE), (GROUP_OBJ, 4), (MASK, 4), (OTHER, 4))
    os.setxattr(root / "file", ACCESS, value)
    with refused(errno.EACCES):
        as_user(lambda: (root / "file").read_bytes(), ALICE)
    assert as_user(lambda: (root / "file").read_bytes(), BOB) == TEXT


@check()
def the_mask_limits_named_users(root: Path) -> None:
    os.chmod(root / "acl", 0o640)
    with refused(errno.EACCES):
        as_user(lambda: overwrite(root / "acl", b"x"), ALICE)
    assert as_user(lambda: (root / "acl").read_bytes(), ALICE) == TEXT


@check()
def chmod_sets_the_mask(root: Path) -> None:
    os.chmod(root / "acl", 0o714)
    assert _entries(root / "acl") == [
        (USER_OBJ, 7), (USER, 6, ALICE), (GROUP_OBJ, 4), (MASK, 1), (OTHER, 4),
    ]  # fmt: skip


@check()
def the_mask_shows_as_the_groups_mode(root: Path) -> None:
    value = acl((USER_OBJ, 7), (USER, 6, ALICE), (GROUP_OBJ, 1), (MASK, 5), (OTHER, 2))
    os.setxattr(root / "file", ACCESS, value)
    assert mode_of(root / "file") == 0o752


@check()
def an_acl_that_says_no_more_than_the_mode_becomes_the_mode(root: Path) -> None:
    os.setxattr(root / "acl", ACCESS, acl((USER_OBJ, 7), (GROUP_OBJ, 5), (OTHER, 1)))
    assert mode_of(root / "acl") == 0o751
    assert os.listxattr(root / "acl") == []


@check()
def a_removed_acl_leaves_the_mode(root: Path) -> None:
    os.removexattr(root / "acl", ACCESS)
    with refused(errno.ENODATA):
        os.getxattr(root / "acl", ACCESS)
    with refused(errno.EACCES):
        as_user(lambda: overwrite(root / "acl", b"x"), ALICE)


@check()
def an_acl_survives_changes_of_the_file(root: Path) -> None:
    before = _entries(root / "acl")
    overwrite(root / "acl", b"x")
    os.chown(root / "acl", BOB, BOB)
    os.rename(root / "acl", root / "moved")
    assert _entries(root / "moved") == before


@check()
def a_new_file_inherits_the_default_acl(root: Path) -> None:
    create(root / "inherit/new", mode=0o666)
    assert _entries(root / "inherit/new") == [
        (USER_OBJ, 6), (USER, 7, ALICE), (GROUP_OBJ, 5), (GROUP, 5, BOB), (MASK, 6), (OTHER, 0),
    ]  # fmt: skip
    assert mode_of(root / "inherit/new") == 0o660
    assert os.listxattr(root / "inherit/new") == [ACCESS]


@check()
def the_default_acl_stands_in_for_the_umask(root: Path) -> None:
    with umask(0o777):
        create(root / "inherit/new", mode=0o666)
        os.mkdir(root / "inherit/newdir", 0o777)
    assert mode_of(root / "inherit/new") == 0o660
    assert mode_of(root / "inherit/newdir") == 0o770


@check()
def a_new_directory_hands_the_default_acl_on(root: Path) -> None:
    os.mkdir(root / "inherit/new", 0o755)
    inherited = _entries(root / "inherit", DEFAULT)
    assert _entries(root / "inherit/new", DEFAULT) == inherited
    assert (MASK, 5) in _entries(root / "inherit/new")
    os.mkdir(root / "inherit/new/newer", 0o777)
    assert _entries(root / "inherit/new/newer", DEFAULT) == inherited


@check()
def special_files_inherit_the_default_acl(root: Path) -> None:
    os.mkfifo(root / "inherit/fifo", 0o644)
    assert (USER, 7, ALICE) in _entries(root / "inherit/fifo")
    assert mode_of(root / "inherit/fifo") == 0o640


@check()
def a_symlink_inherits_nothing(root: Path) -> None:
    os.symlink("x", root / "inherit/link")
    assert os.listxattr(root / "inherit/link", follow_symlinks=False) == []


@check()
def what_is_moved_or_linked_in_inherits_nothing(root: Path) -> None:
    os.rename(root / "file", root / "inherit/file")
    os.link(root / "big", root / "inherit/big")
    assert os.listxattr(root / "inherit/file") == []
    assert os.listxattr(root / "inherit/big") == []


@check()
def a_default_acl_can_be_given_and_taken(root: Path) -> None:
    value = acl((USER_OBJ, 7), (USER, 4, _CAROL), (GROUP_OBJ, 0), (MASK, 4), (OTHER, 0))
    os.setxattr(root / "dir", DEFAULT, value)
    create(root / "dir/heir", mode=0o666)
    assert (USER, 4, _CAROL) in _entries(root / "dir/heir")
    os.removexattr(root / "dir", DEFAULT)
    with umask(0o022):
        create(root / "dir/free", mode=0o666)
    assert os.listxattr(root / "dir/free") == []
    assert mode_of(root / "dir/free") == 0o644


@check()
def only_a_directory_has_a_default_acl(root: Path) -> None:
    with refused(errno.EACCES):
        os.setxattr(root / "file", DEFAULT, os.getxattr(root / "inherit", DEFAULT))


@check()
def a_symlink_has_no_acl(root: Path) -> None:
    value = acl((USER_OBJ, 7), (USER, 7, ALICE), (GROUP_OBJ, 7), (MASK, 7), (OTHER, 7))
    with refused(errno.EOPNOTSUPP):
        os.setxattr(root / "link", ACCESS, value, follow_symlinks=False)


@check()
def a_malformed_acl_is_refused(root: Path) -> None:
    no_mask = acl((USER_OBJ, 7), (USER, 7, ALICE), (GROUP_OBJ, 7), (OTHER, 7))
    bad_version = b"\x03" + acl((USER_OBJ, 7), (GROUP_OBJ, 7), (OTHER, 7))[1:]
    for value in (no_mask, b"\x02\0\0\0x", bad_version):
        with refused(errno.EINVAL, errno.EOPNOTSUPP):
            os.setxattr(root / "file", ACCESS, value)
    assert os.listxattr(root / "file") == []


@check()
def only_the_owner_changes_an_acl(root: Path) -> None:
    value = acl((USER_OBJ, 6), (USER, 7, ALICE), (GROUP_OBJ, 4), (MASK, 7), (OTHER, 4))
    with refused(errno.EPERM):
        as_user(lambda: os.setxattr(root / "file", ACCESS, value))
    as_user(lambda: os.setxattr(root / "owned", ACCESS, value), ALICE)
    assert (USER, 7, ALICE) in _entries(root / "owned")


@check()
def a_directory_acl_decides_who_creates(root: Path) -> None:
    value = acl((USER_OBJ, 7), (USER, 7, ALICE), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 5))
    os.setxattr(root / "dir", ACCESS, value)
    as_user(lambda: create(root / "dir/alices"), ALICE)
    with refused(errno.EACCES):
        as_user(lambda: create(root / "dir/bobs"), BOB)
    assert os.lstat(root / "dir/alices").st_uid == ALICE


@check()
def an_exclusive_file_of_a_default_acl_is_opened_by_its_creator(root: Path) -> None:
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    with opened(root / "inherit/new", flags, 0o000) as descriptor:
        os.write(descriptor, b"x")
        assert os.pread(descriptor, 1, 0) == b"x"
    assert mode_of(root / "inherit/new") == 0


_SOME = acl((USER_OBJ, 6), (USER, 4, BOB), (GROUP_OBJ, 6), (MASK, 6), (OTHER, 4))
_NO_MORE_THAN_A_MODE = acl((USER_OBJ, 6), (GROUP_OBJ, 6), (OTHER, 4))


def _set_group_id(root: Path, name: str) -> Path:
    """A file of ALICE's in another group, with an ACL and set-group-ID."""
    path = root / name
    create(path)
    os.chown(path, ALICE, _CAROL)
    os.setxattr(path, ACCESS, _SOME)
    os.chmod(path, 0o2674)
    return path


@check()
def an_acl_set_from_outside_the_group_clears_set_group_id(root: Path) -> None:
    for number, value in enumerate((_SOME, _NO_MORE_THAN_A_MODE)):
        path = _set_group_id(root, f"outside{number}")
        as_user(lambda path=path, value=value: os.setxattr(path, ACCESS, value), ALICE)
        assert mode_of(path) == 0o664
        path = _set_group_id(root, f"inside{number}")
        as_user(
            lambda path=path, value=value: os.setxattr(path, ACCESS, value), ALICE, groups=[_CAROL]
        )
        assert mode_of(path) == 0o2664
