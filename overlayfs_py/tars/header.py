"""The 512 bytes that every entry begins with, in any of the four dialects.

Sources: POSIX pax, "ustar Interchange Format"; GNU tar's tar.h; star(4). v7 headers end after the
link's name, ustar has a prefix of the name, GNU has sparse maps there, star a shorter prefix.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

from overlayfs_py.tars.numbers import format_octal, parse_number

BLOCK = 512
END = bytes(BLOCK)

# name mode uid gid size mtime checksum type link magic uname gname major minor prefix
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_CHECKSUM = slice(148, 156)
_CHECKSUM_BLANK = 8 * ord(" ")
_USTAR = b"ustar\x0000"
_GNU = b"ustar  \0"
_STAR_TRAILER = b"tar\0"
_STAR_PREFIX = 131
_MOST_ID = (1 << 32) - 2  # the last one means "none": chown(2)
_MOST_MAJOR, _MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1  # linux/kdev_t.h


class Header(NamedTuple):
    """A header's fields, numbers read, names put together."""

    name: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int  # seconds
    type: bytes  # one byte
    link: bytes
    gnu: bool
    major: int
    minor: int


def parse_header(block: bytes) -> Header:
    """Read a header.

    Raises:
        ValueError: it is damaged, or says what cannot be.
    """
    (name, mode, uid, gid, size, mtime, checksum, kind, link, magic, _, _, major, minor, prefix) = (
        _HEADER.unpack(block)
    )
    if not _is_sealed(block, checksum):
        raise ValueError("no header of an entry: its checksum is wrong")
    name = name.partition(b"\0")[0]
    if magic == _USTAR:
        if block.endswith(_STAR_TRAILER):
            prefix = prefix[:_STAR_PREFIX]
        prefix = prefix.partition(b"\0")[0]
        if prefix:
            name = prefix + b"/" + name
    known = magic in (_USTAR, _GNU)
    is_device = known and kind in (b"3", b"4")
    return Header(
        name,
        parse_number(mode) & 0o7777,
        parse_number(uid),
        parse_number(gid),
        parse_number(size),
        parse_number(mtime),
        kind,
        link.partition(b"\0")[0],
        magic == _GNU,
        parse_number(major) if is_device else 0,
        parse_number(minor) if is_device else 0,
    )


def _is_sealed(block: bytes, checksum: bytes) -> bool:
    try:
        return parse_number(checksum) in _checksums(block)
    except ValueError:
        return False


def _checksums(block: bytes) -> tuple[int, ...]:
    """The sum of all bytes with the checksum itself blank; old tars summed signed bytes."""
    blank = _CHECKSUM_BLANK - sum(block[_CHECKSUM])
    if block.isascii():
        # Adler-32's lower half is 1 + the sum modulo 65521, which 512 * 127 stays below: 20 times
        # as fast as sum().
        return ((zlib.adler32(block) & 0xFFFF) - 1 + blank,)
    unsigned = sum(block) + blank
    return unsigned, unsigned - 256 * sum(1 for byte in block if byte > 127)


def require_owner(uid: int, gid: int) -> None:
    """Refuse ids that chown(2) does not take.

    Raises:
        ValueError: one of them.
    """
    if not (0 <= uid <= _MOST_ID and 0 <= gid <= _MOST_ID):
        raise ValueError(f"an owner that cannot be: {uid}:{gid}")


def require_device(major: int, minor: int) -> None:
    """Refuse numbers that no Linux device has.

    Raises:
        ValueError: one of them.
    """
    if not (0 <= major <= _MOST_MAJOR and 0 <= minor <= _MOST_MINOR):
        raise ValueError(f"a device that cannot be: {major}:{minor}")


def format_header(
    header: Header,
) -> bytes:
    """Write a ustar header; the caller has seen to it that every field fits.

    Raises:
        ValueError: one does not.
    """
    numbers = [
        format_octal(header.mode, 8),
        format_octal(header.uid, 8),
        format_octal(header.gid, 8),
        format_octal(header.size, 12),
        format_octal(header.mtime, 12),
    ]
    device = [format_octal(header.major, 8), format_octal(header.minor, 8)]
    if None in (*numbers, *device) or len(header.name) > 100 or len(header.link) > 100:
        raise ValueError("this does not fit into a ustar header")
    blank = _HEADER.pack(
        header.name, *numbers, b" " * 8, header.type, header.link, _USTAR, b"", b"", *device, b""
    )
    return blank[: _CHECKSUM.start] + b"%06o\0 " % sum(blank) + blank[_CHECKSUM.stop :]
