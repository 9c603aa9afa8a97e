"""What users of a mount can do in a volume: what they could do on the host, and no more."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls.files import FS_IOC_SETFLAGS
from overlayfs_py.union import acl
from overlayfs_py.union.values import Volume
from tests.drivers.serving import Stack, serving
from tests.support.users import ALICE, BOB, errno_as

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_NODUMP = 0x40
_NO_ID = 0xFFFFFFFF
_ACL = acl.build(
    [
        acl.AclEntry(1, 6, _NO_ID),  # the owner
        acl.AclEntry(2, 6, ALICE),
        acl.AclEntry(4, 4, _NO_ID),  # the group
        acl.AclEntry(16, 6, _NO_ID),  # the mask
        acl.AclEntry(32, 4, _NO_ID),  # others
    ]
)


@pytest.fixture
def host(stack: Stack) -> Iterator[Path]:
    """A host directory of Alice's, which is the volume `/volume` of the mount."""
    host = stack.base / "host"
    host.mkdir()
    os.chown(host, ALICE, ALICE)
    spec = stack.spec._replace(volumes=(Volume(os.fsencode(host), b"/volume"),))
    with serving(spec, stack.plan):
        yield host


_OWNERS_RIGHTS: dict[str, Callable[[int], object]] = {
    "chmod": lambda fd: os.fchmod(fd, 0o4755),
    "chgrp": lambda fd: os.fchown(fd, -1, ALICE),
    "acl": lambda fd: os.setxattr(fd, "system.posix_acl_access", _ACL),
    "flags": lambda fd: fcntl.ioctl(fd, FS_IOC_SETFLAGS, _NODUMP.to_bytes(8, "little")),
}


@pytest.mark.parametrize("right", _OWNERS_RIGHTS)
def test_a_file_that_was_given_away_is_its_new_owners_alone(
    stack: Stack, host: Path, right: str
) -> None:
    """The kernel still knows the old owner of a file that is open, and has let this pass."""
    file = host / "file"
    file.write_bytes(b"#!/bin/sh\n")
    os.chown(file, ALICE, ALICE)
    fd = os.open(stack.target / "volume/file", os.O_RDWR)
    try:
        assert errno_as(ALICE, partial(os.fchmod, fd, 0o700)) == 0
        os.chown(file, 0, 0)
        before = file.stat()

        refused = errno_as(ALICE, partial(_OWNERS_RIGHTS[right], fd))
        # The pyfuse3 driver has no inode flags at all.
        assert refused == errno.EPERM or (right, refused) == ("flags", errno.ENOTTY)
    finally:
        os.close(fd)

    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert os.listxattr(file) == []


def test_an_old_owner_sets_no_time_but_the_present(stack: Stack, host: Path) -> None:
    file = host / "file"
    file.touch()
    os.chown(file, ALICE, ALICE)
    fd = os.open(stack.target / "volume/file", os.O_RDWR)
    try:
        assert errno_as(ALICE, lambda: os.utime(fd, (1, 1))) == 0
        assert file.stat().st_mtime == 1
        os.chown(file, 0, 0)
        errno_as(ALICE, lambda: os.utime(fd, (2, 2)))
    finally:
        os.close(fd)

    assert file.stat().st_mtime != 2


def test_owners_have_their_rights(stack: Stack, host: Path) -> None:
    """Those of a member of the file's group, too, and of who may only write."""
    target = stack.target / "volume"
    file = host / "file"
    file.touch()
    file.chmod(0o666)
    os.chown(file, ALICE, 7)

    assert errno_as(ALICE, lambda: os.chmod(target / "file", 0o2777), groups=[7]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o2777
    assert errno_as(ALICE, lambda: os.chown(target / "file", -1, 8), groups=[7, 8]) == 0
    assert file.stat().st_gid == 8
    assert errno_as(BOB, lambda: os.utime(target / "file")) == 0
    assert errno_as(BOB, lambda: os.utime(target / "file", (1, 1))) == errno.EPERM
    assert errno_as(BOB, lambda: os.setxattr(target / "file", "user.a", b"b")) == 0
    assert errno_as(BOB, lambda: os.chmod(target / "file", 0o777)) == errno.EPERM


def test_what_is_made_is_its_makers_from_the_first_moment(stack: Stack, host: Path) -> None:
    target = stack.target / "volume"
    host.chmod(0o1777)

    def make() -> None:
        os.umask(0o027)
        os.close(os.open(target / "f", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        (target / "d").mkdir()
        os.mkfifo(target / "p")
        (target / "l").symlink_to("f")

    assert errno_as(BOB, make) == 0
    made = {path.name: path.lstat() for path in host.iterdir()}
    assert {(status.st_uid, status.st_gid) for status in made.values()} == {(BOB, BOB)}
    modes = {name: stat.S_IMODE(status.st_mode) for name, status in made.items()}
    assert modes == {"f": 0o640, "d": 0o750, "p": 0o640, "l": 0o777}


def test_a_set_group_id_directory_and_its_default_acl_are_the_hosts(
    stack: Stack, host: Path
) -> None:
    os.chown(host, ALICE, 9)
    host.chmod(0o2775)
    os.setxattr(host, "system.posix_acl_default", _ACL)

    def make() -> None:
        os.umask(0o077)
        (stack.target / "volume/f").touch(0o666)
        (stack.target / "volume/d").mkdir()

    assert errno_as(ALICE, make) == 0
    assert (host / "f").stat().st_gid == (host / "d").stat().st_gid == 9
    assert (host / "d").stat().st_mode & stat.S_ISGID
    assert os.getxattr(host / "d", "system.posix_acl_default") == _ACL
    assert (host / "f").stat().st_mode & stat.S_IRWXG


def test_a_sticky_directory_protects_others_names(stack: Stack, host: Path) -> None:
    target = stack.target / "volume"
    os.chown(host, 0, 0)
    host.chmod(0o1777)
    (host / "bobs").touch()
    (host / "bobs-too").mkdir()
    os.chown(host / "bobs", BOB, BOB)
    os.chown(host / "bobs-too", BOB, BOB)

    assert errno_as(ALICE, lambda: os.unlink(target / "bobs")) == errno.EPERM
    assert errno_as(ALICE, lambda: os.rmdir(target / "bobs-too")) == errno.EPERM
    assert errno_as(ALICE, lambda: os.rename(target / "bobs", target / "x")) == errno.EPERM
    assert errno_as(BOB, lambda: os.rename(target / "bobs", target / "x")) == 0
    assert errno_as(BOB, lambda: os.unlink(target / "x")) == 0
    assert errno_as(BOB, lambda: os.rmdir(target / "bobs-too")) == 0


def test_a_private_directory_put_in_place_of_an_open_one_stays_closed(
    stack: Stack, host: Path
) -> None:
    """Its own inode is what an open directory stays, whatever its name leads to."""
    (host / "own").mkdir(mode=0o755)
    (host / "own/mine").touch()
    (host / "private").mkdir(mode=0o700)
    (host / "private/secret").write_bytes(b"secret")
    fd = os.open(stack.target / "volume/own", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        assert not libc.renameat2(
            -100, os.fsencode(host / "own"), -100, os.fsencode(host / "private"), 2
        )

        assert errno_as(ALICE, lambda: os.stat("secret", dir_fd=fd)) == errno.ENOENT
        assert errno_as(ALICE, lambda: os.stat("mine", dir_fd=fd)) == 0
        own = stack.target / "volume/own"
        assert errno_as(ALICE, lambda: os.stat(own / "secret")) == errno.EACCES
    finally:
        os.close(fd)
