"""A bounded number of open things, the least recently used one closed first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

Open = TypeVar("Open")


class DescriptorCache(Generic[Open]):
    """Open descriptors by their owner; it owns them and closes what it evicts.

    A value got from the cache stays open until as many others as the limit have been put: use it
    at once, never keep it across an await.
    """

    def __init__(self, limit: int, close: Callable[[Open], None]) -> None:
        """Hold at most `limit` values, see `limit`."""
        self.limit = limit
        self._close = close
        self._held: OrderedDict[Hashable, Open] = OrderedDict()

    @property
    def limit(self) -> int:
        """How many values are held at most (at least 16: one operation uses a few at a time)."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = max(16, limit)

    def __len__(self) -> int:
        return len(self._held)

    def find(self, owner: Hashable) -> Open | None:
        """Return what is open for `owner`, now the most recently used, or None."""
        held = self._held.get(owner)
        if held is not None:
            self._held.move_to_end(owner)
        return held

    def put(self, owner: Hashable, value: Open) -> None:
        """Hand `value` over, closing what was open for `owner` and what exceeds the limit."""
        if owner in self._held:
            self.drop(owner)
        self._held[owner] = value
        while len(self._held) > self._limit:
            self._close(self._held.popitem(last=False)[1])

    def drop(self, owner: Hashable) -> None:
        """Close what is open for `owner`, if anything is."""
        held = self._held.pop(owner, None)
        if held is not None:
            self._close(held)

    def drop_where(self, is_meant: Callable[[Hashable], bool]) -> None:
        """Close what is open for some owners."""
        for owner in [owner for owner in self._held if is_meant(owner)]:
            self.drop(owner)

    def clear(self) -> None:
        """Close everything."""
        while self._held:
            self._close(self._held.popitem()[1])
