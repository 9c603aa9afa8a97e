"""lz4 blocks: the one place that knows the library."""

from __future__ import annotations

import lz4  # type: ignore[import-untyped]
import lz4.block  # type: ignore[import-untyped]

from overlayfs_py.packs.values import FAST

BadBlock: type[Exception] = lz4.block.LZ4BlockError


def compress(data: bytes, level: int) -> bytes:
    """Return one block, without a header; lets other threads run meanwhile."""
    if level == FAST:
        packed: bytes = lz4.block.compress(data, store_size=False)
    else:
        packed = lz4.block.compress(
            data, mode="high_compression", compression=level, store_size=False
        )
    return packed


def decompress(block: bytes, size: int) -> bytes:
    """Return the `size` bytes that a block holds; never takes memory for more.

    Raises:
        BadBlock: it is no block, or holds more. One that holds less returns less.
    """
    data: bytes = lz4.block.decompress(block, uncompressed_size=size)
    return data


def library_version() -> str:
    """Return the version of the C library: another one may compress to other bytes."""
    version: str = lz4.library_version_string()
    return version
