"""Reading directories that nobody opens: positions that stay true while names come and go."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

from overlayfs_py.union.steps import batches, finished

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.union.steps import Steps

# Listings are kept until so many names are in them, the least recently read dropped first. A
# reader in the middle of one that was dropped goes on in a new one, whose order is the same as
# long as the directory did not change.
_MOST_NAMES = 1_000_000

LARGE = 8192  # names: of such a listing pages are kept short
# Directories of layers that are found for the names of a page, at most: 15 ms (measured).
PAGE_SPREAD = 256
# How long the names of a page may take, on a processor; looked at after so many each time. A page
# of names that are no worse than others takes 4 ms.
PAGE_S = 0.012
PAGE_LOOKS = 8
SELF_COOKIE, PARENT_COOKIE = 1, 2


class Listing:
    """The names of one directory, each with a cookie that it keeps while it is there."""

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        # Replaced, never changed: who brings it up to date in steps sees whether others have.
        self._names = list(dict.fromkeys(names))
        first = PARENT_COOKIE + 1
        self._next = first + len(self._names)
        self._cookies: Sequence[int] = range(first, self._next)
        self.counted = 0  # of its names, in the sum that `Listings` keeps

    def __len__(self) -> int:
        return len(self._names)

    def refresh(self, names: Iterable[bytes]) -> None:
        """Take the directory as it is now: known names keep their places, new ones come last."""
        finished(self.refreshing(dict.fromkeys(names)))

    def refreshing(self, current: dict[bytes, None]) -> Steps[None]:
        """Do that in steps; `current` is used up."""
        while True:
            names = self._names
            kept_cookies: list[int] = []
            kept: list[bytes] = []
            for batch in batches(zip(self._cookies, names, strict=True)):
                for cookie, name in batch:
                    if name in current:
                        del current[name]
                        kept_cookies.append(cookie)
                        kept.append(name)
                yield
            if self._names is names:
                break
            current.update(dict.fromkeys(kept))  # another reader was faster: its places count
        first, self._next = self._next, self._next + len(current)
        new = range(first, self._next)
        self._cookies = [*kept_cookies, *new] if kept else new
        self._names = [*kept, *current]

    def after(self, cookie: int, most: int) -> tuple[Sequence[int], list[bytes]]:
        """Return up to `most` names behind a cookie, and before them the cookie of each."""
        first = bisect_right(self._cookies, cookie)
        return self._cookies[first : first + most], self._names[first : first + most]


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
        if ino in self._kept:
            return finished(self.taking(ino, dict.fromkeys(names)))
        listing = self._kept[ino] = Listing(names)
        self._count(listing)
        return listing

    def taking(self, ino: int, names: dict[bytes, None]) -> Steps[Listing]:
        """Do that in steps; `names` is used up."""
        listing = self.find(ino)
        if listing is None:
            listing = self._kept[ino] = Listing()
        yield from listing.refreshing(names)
        if self._kept.get(ino) is listing:
            self._count(listing)
        return listing

    def _count(self, listing: Listing) -> None:
        """Count the names of one that is kept, and make room for them."""
        self._total += len(listing) - listing.counted
        listing.counted = len(listing)
        while self._total > _MOST_NAMES and len(self._kept) > 1:
            self._total -= self._kept.popitem(last=False)[1].counted

    def drop(self, ino: int) -> None:
        """Forget a directory's listing."""
        listing = self._kept.pop(ino, None)
        if listing is not None:
            self._total -= listing.counted
