"""Owner, mode and type in an xattr: every writer's form is read, and nothing else."""

from __future__ import annotations

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.layers.override_stat import Override, format_override, parse_override

_REGULAR = stat.S_IFREG | 0o600
_STANDING_IN = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK)
_IDS = st.integers(0, (1 << 32) - 2)
_BITS = st.integers(0, 0o7777)


def _inode(mode: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@given(_IDS, _IDS, _BITS, st.sampled_from(_STANDING_IN))
def test_what_is_written_is_read(uid: int, gid: int, bits: int, file_type: int) -> None:
    override = Override(uid, gid, bits | file_type, 0)

    assert parse_override(format_override(override), _inode(_REGULAR)) == override


@given(
    _BITS,
    st.sampled_from((stat.S_IFCHR, stat.S_IFBLK)),
    st.integers(0, (1 << 12) - 1),
    st.integers(0, (1 << 20) - 1),
)
def test_a_device_keeps_its_number(bits: int, file_type: int, major: int, minor: int) -> None:
    override = Override(0, 0, bits | file_type, os.makedev(major, minor))

    assert parse_override(format_override(override), _inode(_REGULAR)) == override


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_are_none(value: bytes) -> None:
    found = parse_override(value, _inode(_REGULAR))

    assert found is None or stat.S_IMODE(found.mode) <= 0o7777


@given(st.text("0123456789:-abcdefilrkochspe", max_size=40), st.sampled_from(_STANDING_IN))
def test_near_misses_stay_in_range(text: str, real_type: int) -> None:
    found = parse_override(text.encode(), _inode(real_type | 0o644))

    if found is not None:
        assert 0 <= found.uid < 1 << 32
        assert 0 <= found.gid < 1 << 32
        assert stat.S_IFMT(found.mode) not in (stat.S_IFDIR, stat.S_IFLNK)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"0:0:755", Override(0, 0, stat.S_IFREG | 0o755, 0)),  # fuse-overlayfs
        (b"1:2:0644", Override(1, 2, stat.S_IFREG | 0o644, 0)),
        (b"1:2:04755:file", Override(1, 2, stat.S_IFREG | 0o4755, 0)),  # containers/storage
        (b"1:2:0600:block-8-1", Override(1, 2, stat.S_IFBLK | 0o600, os.makedev(8, 1))),
        (b"1:2:0600:pipe\0", Override(1, 2, stat.S_IFIFO | 0o600, 0)),
    ],
)
def test_the_forms_of_other_writers(value: bytes, expected: Override) -> None:
    assert parse_override(value, _inode(_REGULAR)) == expected
