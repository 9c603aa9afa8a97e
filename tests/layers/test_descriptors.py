"""The cache of open things: bounded, the oldest goes first, everything is closed once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.layers.descriptors import DescriptorCache


@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "find"]), st.integers(0, 40))))
def test_everything_is_closed_once(steps: list[tuple[str, int]]) -> None:
    closed: list[int] = []
    cache = DescriptorCache(16, closed.append)
    opened = 0
    for step, owner in steps:
        if step == "put":
            cache.put(owner, opened)
            opened += 1
        elif step == "drop":
            cache.drop(owner)
        else:
            found = cache.find(owner)
            assert found not in closed
        assert len(cache) <= 16
    cache.clear()

    assert sorted(closed) == list(range(opened))


def test_the_least_recently_used_goes_first() -> None:
    closed: list[int] = []
    cache = DescriptorCache(16, closed.append)
    for number in range(16):
        cache.put(number, number)
    cache.find(0)

    cache.put(99, 99)

    assert closed == [1]
    assert cache.find(0) == 0


def test_one_operation_has_room_whatever_the_limit() -> None:
    closed: list[int] = []
    cache = DescriptorCache(1, closed.append)
    for number in range(16):
        cache.put(number, number)

    assert closed == []
