"""What a file holds, in a few bytes, read only where a stat cache does not know it."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.packs.values import Hole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.builds.context import Context, Item
    from overlayfs_py.builds.stat_cache import StatCache

_ZEROS = memoryview(bytes(1 << 16))


class Digests(NamedTuple):
    """Digests of a regular file."""

    content: bytes  # SHA-256 of its data, holes as zeros
    xattrs: bytes  # as `digest_of_xattrs`


def digest_of_content(context: Context, item: Item, stats: StatCache | None) -> Digests:
    """Return what a regular file's data and xattrs are.

    Raises:
        ChangedMeanwhile, BadContext: it cannot be read as it was seen.
    """
    stamp = context.stamp(item) if stats is not None else ()
    if stats is not None:
        known = stats.find(item.path, stamp)
        if known is not None:
            return known
    before_ns = time.time_ns()
    # Before the data, which is only given if all of the file is as it was seen.
    xattrs = digest_of_xattrs(context.xattrs(item))
    digests = Digests(_sha256(context, item), xattrs)
    if stats is not None and context.is_at_rest(item, before_ns):
        stats.put(item.path, stamp, digests)
    return digests


def digest_of_xattrs(xattrs: Mapping[bytes, bytes]) -> bytes:
    """Return the SHA-256 of names and values, nothing for none."""
    if not xattrs:
        return b""
    return hashlib.sha256(msgspec.msgpack.encode(sorted(xattrs.items()))).digest()


def _sha256(context: Context, item: Item) -> bytes:
    digest = hashlib.sha256()
    for piece in context.data(item):
        if isinstance(piece, Hole):
            for start in range(0, piece.length, len(_ZEROS)):
                digest.update(_ZEROS[: piece.length - start])
        else:
            digest.update(piece)
    return digest.digest()
