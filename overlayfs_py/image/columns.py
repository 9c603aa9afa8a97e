"""Columns as wide as what stands in them: Go's text/tabwriter, as docker sets it up.

Cells end with a tab; a column is what follows each other, line by line, in one place. The last
cell of a line belongs to no column.
"""

from __future__ import annotations

_LEAST_WIDTH = 10
_PADDING = 3


def align(text: str) -> str:
    """Return `text` with spaces in place of its tabs."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]
    _measure(lines, widths, 0, 0, len(lines))
    return "\n".join(_line(cells, width) for cells, width in zip(lines, widths, strict=True))


def _measure(
    lines: list[list[str]], widths: list[list[int]], column: int, start: int, end: int
) -> None:
    """Find the widths of the columns from `column` on, in the lines that share those before it."""
    at = start
    while at < end:
        if column >= len(lines[at]) - 1:
            at += 1
            continue
        last = at
        while last < end and column < len(lines[last]) - 1:
            last += 1
        needed = max(len(cells[column]) + _PADDING for cells in lines[at:last])
        for width in widths[at:last]:
            width.append(max(_LEAST_WIDTH, needed))
        _measure(lines, widths, column + 1, at, last)
        at = last


def _line(cells: list[str], widths: list[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "".join((*padded, cells[-1]))
