"""Asking whether an xattr is there: only a sure "no" counts, and no link is followed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.syscalls import xattrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAIN = b"user.plain"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "with").write_bytes(b"")
    os.setxattr(tmp_path / "with", PLAIN, b"value")
    (tmp_path / "without").write_bytes(b"")
    (tmp_path / "link").symlink_to("with")
    (tmp_path / "below").mkdir()
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(
    ("name", "xattr", "is_absent"),
    [
        (b"with", PLAIN, False),
        (b"without", PLAIN, True),
        (b"below", PLAIN, True),
        (b".", PLAIN, True),
        (b"link", b"trusted.of-the-link", True),
        (b"without", b"system.posix_acl_access", True),
        (b"missing", PLAIN, False),
        (b"without", b"nonsense.name", False),
        (b"link", PLAIN, True),  # what it leads to has one
        (b"link", b"system.posix_acl_access", False),  # it can have none
    ],
)
def test_only_a_sure_no_counts(directory: int, name: bytes, xattr: bytes, is_absent: bool) -> None:
    assert xattrs.is_absent(directory, name, xattr) is is_absent


@pytest.mark.parametrize("name", [b"with", b"without", b"below"])
@pytest.mark.parametrize("xattr", [PLAIN, b"nonsense.name"])
def test_what_is_open_is_asked_by_its_descriptor(directory: int, name: bytes, xattr: bytes) -> None:
    fd = os.open(name, os.O_RDONLY, dir_fd=directory)
    try:
        assert xattrs.is_absent_from(fd, xattr) is xattrs.is_absent(directory, name, xattr)
    finally:
        os.close(fd)
