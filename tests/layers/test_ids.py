"""Id maps: there and back, and what no range holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.layers.ids import IdMap, IdRange

_OVERFLOW = 65534
_MAP = IdMap(
    uids=(IdRange(100_000, 0, 1), IdRange(200_000, 1, 65_535)), gids=(IdRange(5, 500, 10),)
)


@given(st.integers(0, 65_535))
def test_there_and_back(uid: int) -> None:
    assert _MAP.seen_uid(_MAP.disk_uid(uid)) == uid


@given(st.integers(0, (1 << 32) - 2))
def test_what_no_range_holds_is_nobodys(uid: int) -> None:
    if uid == 100_000:
        expected = 0
    elif 200_000 <= uid < 265_535:
        expected = uid - 199_999
    else:
        expected = _OVERFLOW

    assert _MAP.seen_uid(uid) == expected


def test_uids_and_gids_are_apart() -> None:
    assert (_MAP.seen_gid(5), _MAP.disk_gid(509)) == (500, 14)
    assert _MAP.seen_gid(15) == _OVERFLOW


def test_an_empty_map_changes_nothing() -> None:
    assert IdMap().changes_nothing
    assert IdMap().seen_uid(12345) == 12345
    assert IdMap().disk_gid(12345) == 12345
