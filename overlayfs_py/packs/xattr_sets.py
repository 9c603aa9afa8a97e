"""Sets of xattrs, each stored once however many objects have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.packs.errors import BadEntry
from overlayfs_py.packs.format import (
    MOST_XATTR_NAME_BYTES,
    MOST_XATTR_SET_BYTES,
    XATTR,
    XATTR_ALIGNMENT,
    XATTR_SET,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST_NAME = 255
_LONGEST_VALUE = 65536  # XATTR_SIZE_MAX
NO_SET = 0


class XattrSets:
    """The section of a pack that is being written."""

    def __init__(self) -> None:
        # No set is at 0: there it says that an object has none.
        self.table = bytearray(XATTR_ALIGNMENT)
        self._known: dict[bytes, int] = {}

    def add(self, xattrs: Sequence[tuple[bytes, bytes]]) -> int:
        """Return where the set of these xattrs is."""
        if not xattrs:
            return NO_SET
        packed = _pack(xattrs)
        known = self._known.get(packed)
        if known is None:
            known = self._known[packed] = len(self.table)
            self.table += packed
        return known


def _pack(xattrs: Sequence[tuple[bytes, bytes]]) -> bytes:
    if len(dict(xattrs)) != len(xattrs):
        raise BadEntry("an xattr is there twice")
    pieces = []
    for name, value in sorted(xattrs):
        if not 0 < len(name) <= _LONGEST_NAME or b"\0" in name or len(value) > _LONGEST_VALUE:
            raise BadEntry(f"this cannot be an xattr: {name[:80]!r}, {len(value)} bytes")
        pieces.append(XATTR.pack(len(name), len(value)) + name + value)
    body = b"".join(pieces)
    length = XATTR_SET.size + len(body)
    listed = sum(len(name) + 1 for name, _ in xattrs)
    if length > MOST_XATTR_SET_BYTES or listed > MOST_XATTR_NAME_BYTES:
        raise BadEntry("too many xattrs")
    head = XATTR_SET.pack(len(xattrs), length)
    return (head + body).ljust(-(-length // XATTR_ALIGNMENT) * XATTR_ALIGNMENT, b"\0")
