"""Extended attributes of the user, trusted and security namespaces."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

from tests.posix.calls import get_xattr_into
from tests.posix.descriptors import create, opened, overwrite
from tests.posix.expecting import refused
from tests.posix.prepared import TEXT
from tests.posix.processes import ALICE, as_user
from tests.posix.registry import check

if TYPE_CHECKING:
    from pathlib import Path

_CAPABILITY = "security.capability"
_NET_RAW = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)  # vfs_cap_data, revision 2


@check()
def a_set_xattr_is_read_and_listed(root: Path) -> None:
    for name in ("file", "dir", "attrs", "attrdir"):
        before = os.listxattr(root / name)
        os.setxattr(root / name, "user.new", b"value")
        assert os.getxattr(root / name, "user.new") == b"value"
        assert sorted(os.listxattr(root / name)) == sorted([*before, "user.new"])


@check()
def an_xattr_of_a_new_file_is_its_own(root: Path) -> None:
    create(root / "new")
    assert os.listxattr(root / "new") == []
    os.setxattr(root / "new", "user.a", b"1")
    assert os.listxattr(root / "file") == []


@check()
def only_the_users_xattrs_are_listed(root: Path) -> None:
    os.setxattr(root / "attrdir", "user.x", b"1")
    os.rename(root / "attrdir", root / "moved")
    os.rename(root / "dir", root / "attrdir")
    overwrite(root / "attrs", b"x")
    assert sorted(os.listxattr(root / "moved")) == ["user.colour", "user.x"]
    assert os.listxattr(root / "attrdir") == []
    assert sorted(os.listxattr(root / "attrs")) == ["trusted.secret", "user.colour"]


@check()
def a_missing_xattr_is_refused(root: Path) -> None:
    for name in ("file", "dir"):
        with refused(errno.ENODATA):
            os.getxattr(root / name, "user.none")
        with refused(errno.ENODATA):
            os.removexattr(root / name, "user.none")


@check()
def create_and_replace_look_before(root: Path) -> None:
    with refused(errno.EEXIST):
        os.setxattr(root / "attrs", "user.colour", b"x", os.XATTR_CREATE)
    with refused(errno.ENODATA):
        os.setxattr(root / "attrs", "user.none", b"x", os.XATTR_REPLACE)
    os.setxattr(root / "attrs", "user.colour", b"red", os.XATTR_REPLACE)
    os.setxattr(root / "attrs", "user.none", b"now", os.XATTR_CREATE)
    assert os.getxattr(root / "attrs", "user.colour") == b"red"
    assert os.getxattr(root / "attrs", "user.none") == b"now"


@check()
def a_removed_xattr_does_not_come_back(root: Path) -> None:
    os.removexattr(root / "attrs", "user.colour")
    os.removexattr(root / "attrdir", "user.colour")
    overwrite(root / "attrs", b"x")
    create(root / "attrdir/new")
    assert os.listxattr(root / "attrs") == ["trusted.secret"]
    assert os.listxattr(root / "attrdir") == []


@check()
def xattrs_survive_every_change_of_the_file(root: Path) -> None:
    overwrite(root / "attrs", b"x")
    os.chmod(root / "attrs", 0o600)
    os.chown(root / "attrs", 1, 2)
    os.truncate(root / "attrs", 0)
    os.rename(root / "attrs", root / "dir/attrs")
    os.link(root / "dir/attrs", root / "again")
    assert os.getxattr(root / "again", "user.colour") == b"blue"
    assert os.getxattr(root / "again", "trusted.secret") == b"\0s\xff"


@check()
def values_are_any_bytes(root: Path) -> None:
    for value in (b"", b"\0", b"\0\xff\n" * 100, bytes(range(256)), b"x" * 3000):
        os.setxattr(root / "file", "user.v", value)
        assert os.getxattr(root / "file", "user.v") == value


@check()
def a_value_replaces_a_longer_one(root: Path) -> None:
    os.setxattr(root / "file", "user.v", b"x" * 2000)
    os.setxattr(root / "file", "user.v", b"y")
    assert os.getxattr(root / "file", "user.v") == b"y"


@check()
def many_xattrs_are_listed(root: Path) -> None:
    wanted = {f"user.number{number}" for number in range(40)}
    for name in wanted:
        os.setxattr(root / "file", name, name.encode())
    assert set(os.listxattr(root / "file")) == wanted
    for name in wanted:
        assert os.getxattr(root / "file", name) == name.encode()


@check()
def names_are_at_most_255_bytes(root: Path) -> None:
    longest = "user." + "n" * 250
    os.setxattr(root / "file", longest, b"x")
    assert os.listxattr(root / "file") == [longest]
    with refused(errno.ERANGE):
        os.setxattr(root / "file", longest + "n", b"x")


@check()
def names_are_any_bytes(root: Path) -> None:
    name = os.fsdecode(b"user.\xff\xfe \n\xc3\xa4")
    os.setxattr(root / "file", name, b"x")
    assert os.listxattr(root / "file") == [name]
    assert os.getxattr(root / "file", name) == b"x"


@check()
def a_value_beyond_64_kib_is_refused(root: Path) -> None:
    with refused(errno.E2BIG):
        os.setxattr(root / "file", "user.v", b"x" * 65537)
    assert os.listxattr(root / "file") == []


@check()
def a_buffer_too_small_is_refused(root: Path) -> None:
    assert get_xattr_into(root / "attrs", "user.colour", 4) == b"blue"
    with refused(errno.ERANGE):
        get_xattr_into(root / "attrs", "user.colour", 3)


@check()
def an_unknown_namespace_is_refused(root: Path) -> None:
    for name in ("bogus.x", "x", "user", "user."):
        with refused(errno.EOPNOTSUPP, errno.EINVAL):
            os.setxattr(root / "file", name, b"1")


@check()
def special_files_have_no_user_xattrs(root: Path) -> None:
    for name in ("fifo", "socket", "null"):
        with refused(errno.EPERM):
            os.setxattr(root / name, "user.x", b"1")
        os.setxattr(root / name, "trusted.x", b"1")
        assert os.getxattr(root / name, "trusted.x") == b"1"


@check()
def an_open_descriptor_reaches_the_xattrs(root: Path) -> None:
    with opened(root / "attrs") as descriptor:
        os.setxattr(descriptor, "user.fd", b"1")
        assert sorted(os.listxattr(descriptor)) == ["trusted.secret", "user.colour", "user.fd"]
    assert os.getxattr(root / "attrs", "user.fd") == b"1"


@check()
def hard_links_share_xattrs(root: Path) -> None:
    os.setxattr(root / "first", "user.x", b"1")
    assert os.getxattr(root / "second", "user.x") == b"1"
    os.removexattr(root / "second", "user.x")
    assert os.listxattr(root / "first") == []


@check()
def trusted_xattrs_are_for_root(root: Path) -> None:
    os.chmod(root / "attrs", 0o666)
    path = root / "attrs"
    assert as_user(lambda: os.listxattr(path)) == ["user.colour"]
    with refused(errno.ENODATA, errno.EPERM):
        as_user(lambda: os.getxattr(path, "trusted.secret"))
    with refused(errno.EPERM):
        as_user(lambda: os.setxattr(path, "trusted.mine", b"1"))


@check()
def user_xattrs_obey_the_files_mode(root: Path) -> None:
    with refused(errno.EACCES):
        as_user(lambda: os.setxattr(root / "file", "user.x", b"1"))
    with refused(errno.EACCES):
        as_user(lambda: os.getxattr(root / "attrs", "user.colour"))
    as_user(lambda: os.setxattr(root / "owned", "user.x", b"1"), ALICE)
    assert os.getxattr(root / "owned", "user.x") == b"1"


@check()
def a_sticky_directorys_xattrs_are_its_owners(root: Path) -> None:
    with refused(errno.EPERM):
        as_user(lambda: os.setxattr(root / "sticky", "user.x", b"1"))


@check()
def capabilities_are_kept_until_the_file_is_written(root: Path) -> None:
    os.setxattr(root / "script", _CAPABILITY, _NET_RAW)
    os.chmod(root / "script", 0o700)
    assert os.getxattr(root / "script", _CAPABILITY) == _NET_RAW
    overwrite(root / "script", b"#")
    with refused(errno.ENODATA):
        os.getxattr(root / "script", _CAPABILITY)


@check()
def capabilities_are_lost_with_a_new_owner(root: Path) -> None:
    os.setxattr(root / "script", _CAPABILITY, _NET_RAW)
    os.chown(root / "script", ALICE, ALICE)
    assert os.listxattr(root / "script") == []


@check()
def capabilities_are_lost_with_truncation(root: Path) -> None:
    os.setxattr(root / "script", _CAPABILITY, _NET_RAW)
    os.truncate(root / "script", len(TEXT))
    assert os.listxattr(root / "script") == []
