"""Positions in directories: true while names come and go, alone and through the kernel."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.drivers import cookies
from overlayfs_py.drivers.cookies import PARENT_COOKIE, Listing, Listings
from tests.drivers.directory_streams import Stream
from tests.drivers.serving import Stack, serving, with_driver

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOWER, UPPER = 3_000, 300
MANY = LOWER + UPPER


def after(listing: Listing, cookie: int) -> list[tuple[int, bytes]]:
    return list(zip(*listing.after(cookie, MANY), strict=True))


def names_after(listing: Listing, cookie: int) -> list[bytes]:
    return [name for _, name in after(listing, cookie)]


def test_names_come_in_order_behind_the_dots() -> None:
    listing = Listing([b"b", b"a", b"c"])

    assert after(listing, PARENT_COOKIE) == [(3, b"b"), (4, b"a"), (5, b"c")]
    assert names_after(listing, 4) == [b"c"]
    assert names_after(listing, 5) == []


def test_a_name_keeps_its_cookie_and_new_ones_come_last() -> None:
    listing = Listing([b"a", b"b", b"c"])
    before = dict(map(reversed, after(listing, 0)))

    listing.refresh([b"new", b"c", b"a"])

    assert names_after(listing, 0) == [b"a", b"c", b"new"]
    since = dict(map(reversed, after(listing, 0)))
    assert (since[b"a"], since[b"c"]) == (before[b"a"], before[b"c"])
    assert since[b"new"] > max(before.values())


def test_a_cookie_is_never_used_again() -> None:
    listing = Listing([b"a", b"last"])
    (_, last) = after(listing, 0)

    listing.refresh([b"a"])
    listing.refresh([b"a", b"another"])

    assert [cookie for cookie, name in after(listing, 0) if name == b"another"] > [last[0]]


class Change(NamedTuple):
    names: list[bytes]
    page: int  # how many names the reader takes before


some_names = st.lists(st.sampled_from([b"%d" % n for n in range(12)]), unique=True)
changes = st.lists(st.builds(Change, some_names, st.integers(0, 4)), max_size=8)


@given(some_names, changes)
def test_a_reader_sees_once_what_stays_and_nothing_twice(
    first: list[bytes], later: list[Change]
) -> None:
    listing, position, seen = Listing(first), 0, []
    stay = set(first)
    for change in later:
        for cookie, name in after(listing, position)[: change.page]:
            position = cookie
            seen.append((cookie, name))
        listing.refresh(change.names)
        stay &= set(change.names)
    seen += after(listing, position)

    assert len(seen) == len(set(seen))
    names = [name for _, name in seen]
    assert all(names.count(name) == 1 for name in stay)


def test_the_least_recently_read_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookies, "_MOST_NAMES", 5)
    listings = Listings()
    listings.take(1, [b"a", b"b"])
    listings.take(2, [b"a", b"b"])
    assert listings.find(1) is not None
    listings.take(3, [b"a", b"b"])

    assert (1 in listings, 2 in listings, 3 in listings) == (True, False, True)


def test_one_larger_than_all_room_is_kept_while_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cookies, "_MOST_NAMES", 2)
    listings = Listings()
    listings.take(1, [b"a"])
    listings.take(2, [b"a", b"b", b"c"])

    assert (1 in listings, 2 in listings) == (False, True)


def test_what_is_dropped_leaves_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cookies, "_MOST_NAMES", 3)
    listings = Listings()
    for ino in (1, 2, 3):
        listings.take(ino, [b"a", b"b"])
        listings.drop(ino)
        listings.drop(ino)
    listings.take(4, [b"a"])
    listings.take(4, [b"a", b"b"])
    listings.take(5, [b"a"])

    assert (4 in listings, 5 in listings) == (True, True)


# Through the kernel


@pytest.fixture
def stack(scratch: Path) -> Stack:
    with_driver.set("direct")
    return Stack(scratch)


@contextmanager
def filled(stack: Stack, *, lower: int, upper: int) -> Iterator[Path]:
    """A mounted directory of many names, some of them from the layer."""
    directory = stack.lower / "dir"
    directory.mkdir()
    for number in range(lower):
        (directory / f"lower-{number}").touch()
    with serving(stack.spec, stack.plan):
        mounted = stack.target / "dir"
        for number in range(upper):
            os.close(os.open(mounted / f"upper-{number}", os.O_CREAT | os.O_WRONLY))
        yield mounted


@pytest.fixture
def large(stack: Stack) -> Iterator[Path]:
    with filled(stack, lower=LOWER, upper=UPPER) as directory:
        yield directory


def test_rm_leaves_nothing_out(stack: Stack) -> None:
    with filled(stack, lower=9_500, upper=500) as directory:
        shutil.rmtree(directory)

        assert not directory.exists()


def test_two_readers_while_a_third_deletes_and_creates(large: Path) -> None:
    """Each sees once all that stays; what goes or comes it may see or not."""
    with Stream(large) as first, Stream(large) as second:
        seen = [first.take(700), second.take(2500)]
        for number in range(0, LOWER, 6):
            os.unlink(large / f"lower-{number}")
        for number in range(0, UPPER, 2):
            os.rename(large / f"upper-{number}", large / f"moved-{number}")
        with Stream(large) as third:
            anew = third.take(2 * MANY)
        seen[0] += first.take(2 * MANY)
        seen[1] += second.take(2 * MANY)

    stay = {f"lower-{number}" for number in range(LOWER) if number % 6}
    stay |= {f"upper-{number}" for number in range(1, UPPER, 2)}
    for names in seen:
        assert len(names) == len(set(names))
        assert stay <= set(names)
    moved = {f"moved-{number}" for number in range(0, UPPER, 2)}
    assert set(anew) == stay | moved


def test_seekdir_comes_back_to_the_same_name(large: Path) -> None:
    with Stream(large) as stream:
        stream.take(500)
        place = stream.tell()
        then = stream.take(3)
        stream.take(2000)
        for number in range(10):
            (large / f"new-{number}").touch()
        stream.seek(place)
        again = stream.take(3)

    assert again == then
