"""A stream of blocks, cut as its reader wants it. Memory: one block, and what `take` joins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Source:
    """Bytes in order, from blocks of any size; empty blocks count for nothing."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self._blocks = iter(blocks)
        self._block = b""
        self._at = 0  # in the block
        self._before = 0  # bytes of all earlier blocks

    @property
    def position(self) -> int:
        """How many bytes have been taken."""
        return self._before + self._at

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes, fewer only at the end; the caller bounds `count`."""
        end = self._at + count
        if end <= len(self._block):
            piece = self._block[self._at : end]
            self._at = end
            return piece
        return b"".join(bytes(piece) for piece in self.pieces(count))

    def pieces(self, count: int) -> Iterator[memoryview]:
        """Yield the next `count` bytes as they lie in the blocks; fewer only at the end."""
        while count > 0 and self._fill():
            end = min(len(self._block), self._at + count)
            piece = memoryview(self._block)[self._at : end]
            # Taken before it is yielded: whoever drops the iterator has had this piece.
            self._at = end
            count -= len(piece)
            yield piece

    def rest(self) -> Iterator[memoryview]:
        """Yield all that is left."""
        while self._fill():
            piece = memoryview(self._block)[self._at :]
            self._at = len(self._block)
            yield piece

    def _fill(self) -> bool:
        """Have something in the block, unless the stream has ended."""
        while self._at == len(self._block):
            block = next(self._blocks, None)
            if block is None:
                return False
            self._before += self._at
            self._block, self._at = block, 0
        return True
