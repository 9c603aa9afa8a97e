"""Open directories: each reads a listing of its own, which no change disturbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.drivers.cookies import LARGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.union.core import Union
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.steps import Steps


_LONG_PAGE = 512  # names


class Listing:
    """One open directory. A position is an index into its names; "." and ".." come first."""

    def __init__(self, union: Union, node: Node) -> None:
        self._union = union
        self.node = node
        self._names: list[bytes] | None = None  # taken at the first read

    def prepare(self, position: int) -> Steps[dict[bytes, None]] | None:
        """Take the names anew where position 0 is read (the first read, or rewinddir).

        Returns the steps that find them where that takes long: what they return is for `take`.
        """
        if position and self._names is not None:
            return None
        if self._union.lists_long(self.node):
            return self._union.naming(self.node)
        self.take(self._union.names(self.node))
        return None

    def take(self, names: Iterable[bytes]) -> None:
        """Take the names as they are now."""
        self._names = [b".", b"..", *names]

    def entries_from(self, position: int) -> Iterator[tuple[int, bytes]]:
        """Yield names from `position` on, each with the position after it."""
        assert self._names is not None
        # By index: a copy per page would be quadratic in a directory of 100,000 names.
        end = len(self._names)
        if end > LARGE:
            end = min(end, position + _LONG_PAGE)  # others wait meanwhile
        for index in range(position, end):
            yield index + 1, self._names[index]


class Listings:
    """The open directories of a mount, by handle."""

    def __init__(self, union: Union) -> None:
        self._union = union
        self._open: dict[int, Listing] = {}
        self._next_handle = 1

    def open(self, node: Node) -> int:
        """Return a handle for reading `node`."""
        handle = self._next_handle
        self._next_handle += 1
        self._open[handle] = Listing(self._union, node)
        return handle

    def __getitem__(self, handle: int) -> Listing:
        return self._open[handle]

    def close(self, handle: int) -> None:
        """Forget a handle."""
        del self._open[handle]
