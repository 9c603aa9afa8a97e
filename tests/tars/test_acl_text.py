"""ACLs in a tar are what the tools that wrote them, and the kernel, take them for."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.tars.acl_text import acl_xattr
from tests.system.processes import run
from tests.tars.making import END, header, pax
from tests.tars.reading import read_tar

if TYPE_CHECKING:
    from pathlib import Path

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
MINIMAL = b"user::rw-,group::r--,other::---"

TOOLS = {
    "bsdtar": (["bsdtar", "--acls", "--format=pax"], "u:games:r,u:1234567:-,g:daemon:rw,m::rw"),
    # It writes names alone.
    "gnu": (["tar", "--acls", "--format=pax"], "u:root:r,u:1234567:-,g:root:rw,m::rw"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_an_acl_is_the_one_that_was_put_into_the_tar(tmp_path: Path, tool: str) -> None:
    command, entries = TOOLS[tool]
    (tmp_path / "tree/dir").mkdir(parents=True)
    (tmp_path / "tree/file").write_text("x")
    run(["setfacl", "-m", entries, tmp_path / "tree/file", tmp_path / "tree/dir"])
    run(["setfacl", "-d", "-m", entries, tmp_path / "tree/dir"])

    run([*command, "-c", "-f", tmp_path / "tar", "-C", tmp_path / "tree", "file", "dir"])
    found = {
        (member.path[-1].decode(), name.decode()): value
        for member in read_tar((tmp_path / "tar").read_bytes()).members
        for name, value in member.xattrs
    }

    assert found == {
        (name, kind): os.getxattr(tmp_path / "tree" / name, kind)
        for name, kind in (("file", ACCESS), ("dir", ACCESS), ("dir", DEFAULT))
    }


def test_an_acl_that_the_mode_says_is_none() -> None:
    assert acl_xattr(MINIMAL, is_default=False) is None
    assert acl_xattr(MINIMAL, is_default=True) is not None


UNKNOWN = {
    "a name that only its maker knows": MINIMAL + b",user:someone:rwx,mask::rwx",
    "a number that is none": MINIMAL + b",user:someone:rwx:4294967295,mask::rwx",
    "no mask": MINIMAL + b",user:1:rwx",
    "an entry twice": MINIMAL + b",user:1:rwx,user:1:r--,mask::rwx",
    "two of the owner": MINIMAL + b",user::rwx",
    "no other": b"user::rw-,group::r--",
    "a named mask": b"user::rw-,group::r--,other::---,mask:1:rwx",
    "no ACL": b"\xff\0",
    "nothing": b",\n,",
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_an_acl_that_nobody_can_tell_is_left_out(case: str) -> None:
    assert acl_xattr(UNKNOWN[case], is_default=False) is None
    assert acl_xattr(UNKNOWN[case], is_default=True) is None


def test_an_xattr_counts_more_than_the_text() -> None:
    acl = acl_xattr(MINIMAL + b",user:1:rwx,mask::rwx", is_default=False)
    assert acl is not None
    text = MINIMAL + b",user:2:rwx:3,mask::rwx"
    records = ((b"SCHILY.xattr." + ACCESS.encode(), acl), (b"SCHILY.acl.access", text))

    (member,) = read_tar(pax(*records) + header() + END).members

    assert member.xattrs == ((ACCESS.encode(), acl),)


def test_comments_and_spaces_are_no_part_of_an_entry() -> None:
    text = b"user::rw-\nuser:1:rwx\t#effective:r--\ngroup::r--\nmask::r--\nother::r--\n"

    assert acl_xattr(text, is_default=False) == acl_xattr(
        b"user::rw-,user:7:rwx:1,group::r--,mask::r--,other::r--", is_default=False
    )
