"""Flags of an inode, in the two forms that ioctl(2) has for them."""

from __future__ import annotations

import struct

import pytest

from overlayfs_py.wire.inode_flags import extended_flags, plain_flags

_EXTENT = 0x80000  # FS_EXTENT_FL: has no other form


@pytest.mark.parametrize("flags", [0, 0x8, 0x10, 0x20, 0x40, 0x80, 0xF8])
def test_what_is_read_can_be_set_again(flags) -> None:
    assert plain_flags(extended_flags(flags), _EXTENT | 0xF8) == _EXTENT | flags


@pytest.mark.parametrize(
    "wanted",
    [
        struct.pack("=IIIII8x", 0x4, 0, 0, 0, 0),  # a flag of XFS
        struct.pack("=IIIII8x", 0, 4096, 0, 0, 0),  # an extent size
        struct.pack("=IIIII8x", 0, 0, 0, 7, 0),  # a project
        struct.pack("=IIIII8x", 0, 0, 0, 0, 4096),  # an extent size for copy on write
    ],
)
def test_what_is_more_than_flags_is_not_to_be_had(wanted) -> None:
    assert plain_flags(wanted, 0) is None
