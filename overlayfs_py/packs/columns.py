"""One field of all records of a table, where the pack lies: for bisections."""

from __future__ import annotations

from typing import Protocol


class Column(Protocol):
    """One field of all records of a table."""

    def __len__(self) -> int: ...

    def __getitem__(self, at: int, /) -> int: ...


class SwappedColumn:
    """A column of numbers on a machine with the other byte order."""

    def __init__(self, records: memoryview, width: int, size: int) -> None:
        self._records = records
        self._width = width
        self._size = size

    def __len__(self) -> int:
        return -(-len(self._records) // self._size)

    def __getitem__(self, at: int) -> int:
        start = at * self._size
        return int.from_bytes(self._records[start : start + self._width], "little")
