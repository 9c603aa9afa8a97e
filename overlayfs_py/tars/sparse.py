"""Maps of sparse entries in their four forms; each becomes the same list of segments.

Source: GNU tar manual, "Storing Sparse Files", and "Sparse Formats": the old GNU form in the
header and blocks after it, and PAX 0.0, 0.1 (in records) and 1.0 (before the data).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.tars.members import Segment
from overlayfs_py.tars.numbers import MOST_INT64, parse_decimal, parse_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from overlayfs_py.tars.pax import Records

    TakeBlock = Callable[[], bytes]

# More would only cost memory: a file of a terabyte, data and hole of 4 MiB in turns.
MOST_SEGMENTS = 1 << 17
_LONGEST_NUMBER = 20

_OLD_FIRST = 386  # where the header has its map
_OLD_IN_HEADER = 4
_OLD_MORE = 482
_OLD_REAL_SIZE = slice(483, 495)
_OLD_IN_BLOCK = 21
_OLD_BLOCK_MORE = 504
_OLD_NUMBER = 12


def old_gnu_map(header: bytes, take_block: TakeBlock) -> tuple[list[Segment], int]:
    """Read the map that begins in a header; returns it and the file's size.

    `take_block` returns the next 512 bytes of the tar.

    Raises:
        ValueError: a map that cannot be.
    """
    size = parse_number(header[_OLD_REAL_SIZE])
    segments = list(_old_gnu_entries(header, _OLD_FIRST, _OLD_IN_HEADER))
    more = header[_OLD_MORE]
    while more:
        block = take_block()
        segments += _old_gnu_entries(block, 0, _OLD_IN_BLOCK)
        _require_few(len(segments))
        more = block[_OLD_BLOCK_MORE]
    return segments, size


def _old_gnu_entries(block: bytes, start: int, count: int) -> Iterator[Segment]:
    for at in range(start, start + count * 2 * _OLD_NUMBER, 2 * _OLD_NUMBER):
        offset = block[at : at + _OLD_NUMBER]
        length = block[at + _OLD_NUMBER : at + 2 * _OLD_NUMBER]
        if not offset[0]:
            return  # Go and GNU tar both end the map at the first empty place
        yield Segment(parse_number(offset), parse_number(length))


def pax_0_map(records: Records) -> list[Segment]:
    """Read the map of form 0.0, many records, or 0.1, one.

    Raises:
        ValueError: a map that cannot be.
    """
    numbers: list[bytes] = []
    for key, value in records:
        if key == b"GNU.sparse.map":
            numbers = value.split(b",") if value else []
        elif key == (b"GNU.sparse.numbytes" if len(numbers) % 2 else b"GNU.sparse.offset"):
            numbers.append(value)
        elif key in (b"GNU.sparse.numbytes", b"GNU.sparse.offset"):
            raise ValueError("a sparse map out of order")
    return _segments([parse_decimal(number) for number in numbers])


def pax_1_map(take_block: TakeBlock) -> list[Segment]:
    """Read the map of form 1.0, at the beginning of the data.

    Raises:
        ValueError: a map that cannot be.
    """
    lines = _Lines(take_block)
    count = lines.number()
    _require_few(count)
    numbers = [lines.number() for _ in range(2 * count)]
    return _segments(numbers)


class _Lines:
    """Numbers, one a line, from blocks that are taken as they are needed."""

    def __init__(self, take_block: TakeBlock) -> None:
        self._take_block = take_block
        self._text = b""
        self._at = 0

    def number(self) -> int:
        end = self._text.find(b"\n", self._at)
        while end < 0:
            if len(self._text) - self._at > _LONGEST_NUMBER:
                raise ValueError("a sparse map without numbers")
            self._text = self._text[self._at :] + self._take_block()
            self._at = 0
            end = self._text.find(b"\n")
        number = parse_decimal(self._text[self._at : end])
        self._at = end + 1
        return number


def _segments(numbers: Sequence[int]) -> list[Segment]:
    if len(numbers) % 2:
        raise ValueError("a sparse map with an odd number")
    _require_few(len(numbers) // 2)
    pairs = iter(numbers)
    return [Segment(*pair) for pair in zip(pairs, pairs, strict=True)]


def _require_few(count: int) -> None:
    if count > MOST_SEGMENTS:
        raise ValueError(f"a sparse map of more than {MOST_SEGMENTS} pieces")


def checked(segments: Sequence[Segment], size: int, stored: int) -> tuple[Segment, ...]:
    """Return a map without its empty pieces, for a file of `size` with `stored` bytes of data.

    Raises:
        ValueError: pieces overlap, are out of order or outside, or are not what is stored.
    """
    end = total = 0
    for segment in segments:
        if segment.offset < end or segment.length < 0:
            raise ValueError("a sparse map whose pieces overlap")
        end = segment.offset + segment.length
        total += segment.length
    if not end <= size <= MOST_INT64:
        raise ValueError("a sparse map that ends outside of its file")
    if total != stored:
        raise ValueError(f"a sparse map of {total} bytes for {stored} bytes of data")
    return tuple(segment for segment in segments if segment.length)
