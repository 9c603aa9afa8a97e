"""Open directories: each reads a listing of its own, which no change disturbs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.union.core import Union
    from overlayfs_py.union.nodes import Node


class Listing:
    """One open directory. A position is an index into its names; "." and ".." come first."""

    def __init__(self, union: Union, node: Node) -> None:
        self._union = union
        self.node = node
        self._names: list[bytes] | None = None  # taken at the first read

    def entries_from(self, position: int) -> Iterator[tuple[int, bytes]]:
        """Yield names from `position` on, each with the position after it.

        Position 0 (the first read, or rewinddir) takes the names anew.
        """
        if position == 0 or self._names is None:
            self._names = [b".", b"..", *self._union.names(self.node)]
        # By index: a copy per page would be quadratic in a directory of 100,000 names.
        for index in range(position, len(self._names)):
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
