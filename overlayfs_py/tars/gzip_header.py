"""The header of a gzip member. Source: RFC 1952; strict where Go's compress/gzip is."""

from __future__ import annotations

import struct
import zlib

_FIXED = 10
_MAGIC = b"\x1f\x8b\x08"  # with its only method, deflate
_CHECKSUM, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16
_MOST_HEADER = 1 << 18


def header_length(data: bytes) -> int | None:
    """Return how long the header is that `data` begins with; None: more is needed to tell.

    Raises:
        ValueError: it is none.
    """
    if not data.startswith(_MAGIC[: len(data)]):
        raise ValueError("not a gzip header")
    end = _end(data)
    if end is None and len(data) > _MOST_HEADER:
        raise ValueError("a gzip header that does not end")
    return end


def _end(data: bytes) -> int | None:
    if len(data) < _FIXED:
        return None
    flags = data[3]
    at = _FIXED
    if flags & _EXTRA:
        if len(data) < at + 2:
            return None
        at += 2 + struct.unpack_from("<H", data, at)[0]
    for text in (_NAME, _COMMENT):
        if flags & text:
            at = data.find(b"\0", at) + 1
            if at == 0:
                return None
    if flags & _CHECKSUM:
        if len(data) < at + 2:
            return None
        if struct.unpack_from("<H", data, at)[0] != zlib.crc32(data[:at]) & 0xFFFF:
            raise ValueError("a gzip header with a wrong checksum")
        at += 2
    return at if at <= len(data) else None
