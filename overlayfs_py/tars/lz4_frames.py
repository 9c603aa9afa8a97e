"""Reading lz4 frames one after the other, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.tars.compression import Decompressor
from overlayfs_py.tars.engines import Compression
from overlayfs_py.tars.errors import BadCompression

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 1 << 16


def read_frames(data: bytes | memoryview) -> Iterator[bytes]:
    """Yield what frames of lz4 hold.

    Raises:
        BadCompression: they are damaged, cut short, or something else.
    """
    decompressor = Decompressor()
    with memoryview(data) as view:
        for start in range(0, len(view), _PIECE):
            yield from decompressor.feed(bytes(view[start : start + _PIECE]))
            if decompressor.compression not in (None, Compression.LZ4):
                raise BadCompression("not lz4", 0)
    yield from decompressor.finish()
