"""Reading directories that nobody opens: positions that stay true while names come and go."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Listings are kept until so many names are in them, the least recently read dropped first. A
# reader in the middle of one that was dropped goes on in a new one, whose order is the same as
# long as the directory did not change.
_MOST_NAMES = 1_000_000

SELF_COOKIE, PARENT_COOKIE = 1, 2


class Listing:
    """The names of one directory, each with a cookie that it keeps while it is there."""

    def __init__(self, names: Iterable[bytes]) -> None:
        self._cookies: list[int] = []
        self._names: list[bytes] = []
        self._next = PARENT_COOKIE + 1
        self.refresh(names)

    def __len__(self) -> int:
        return len(self._names)

    def refresh(self, names: Iterable[bytes]) -> None:
        """Take the directory as it is now: known names keep their places, new ones come last."""
        current = dict.fromkeys(names)
        kept = [(c, n) for c, n in zip(self._cookies, self._names, strict=True) if n in current]
        for _, name in kept:
            del current[name]
        self._cookies = [cookie for cookie, _ in kept]
        self._names = [name for _, name in kept]
        for name in current:
            self._cookies.append(self._next)
            self._names.append(name)
            self._next += 1

    def after(self, cookie: int) -> Iterator[tuple[int, bytes]]:
        """Yield names behind a cookie, each with its own."""
        for index in range(bisect_right(self._cookies, cookie), len(self._cookies)):
            yield self._cookies[index], self._names[index]


class Listings:
    """The listings that somebody reads or has just read, by inode number."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, Listing] = OrderedDict()
        self._total = 0

    def __contains__(self, ino: int) -> bool:
        return ino in self._kept

    def find(self, ino: int) -> Listing | None:
        """Return a directory's listing if it is kept."""
        listing = self._kept.get(ino)
        if listing is not None:
            self._kept.move_to_end(ino)
        return listing

    def take(self, ino: int, names: Iterable[bytes]) -> Listing:
        """Return a directory's listing, brought up to date."""
        listing = self.find(ino)
        if listing is None:
            listing = self._kept[ino] = Listing(names)
            self._total += len(listing)
        else:
            self._total -= len(listing)
            listing.refresh(names)
            self._total += len(listing)
        while self._total > _MOST_NAMES and len(self._kept) > 1:
            self._total -= len(self._kept.popitem(last=False)[1])
        return listing

    def drop(self, ino: int) -> None:
        """Forget a directory's listing."""
        listing = self._kept.pop(ino, None)
        if listing is not None:
            self._total -= len(listing)
