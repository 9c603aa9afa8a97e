"""Tars made byte by byte, for what no tool writes."""

from __future__ import annotations

BLOCK = 512
END = bytes(2 * BLOCK)
GNU = b"ustar  \0"
USTAR = b"ustar\x0000"
V7 = bytes(8)


def header(
    name: bytes = b"f",
    *,
    kind: bytes = b"0",
    size: bytes | int = 0,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    link: bytes = b"",
    magic: bytes = USTAR,
    device: bytes = b"0000000\x000000000\0",
    prefix: bytes = b"",
) -> bytes:
    """One header; its checksum is right, whatever else is not."""
    if isinstance(size, int):
        size = b"%011o\0" % size
    fields = (
        name.ljust(100, b"\0"),
        *(mode, uid, b"0000000\0", size, mtime, b" " * 8, kind),
        link.ljust(100, b"\0"),
        *(magic, bytes(64), device, prefix.ljust(167, b"\0")),
    )
    return sealed(b"".join(fields))


def sealed(block: bytes) -> bytes:
    """A header with its checksum put right."""
    assert len(block) == BLOCK
    blank = block[:148] + b" " * 8 + block[156:]
    return blank[:148] + b"%06o\0 " % sum(blank) + blank[156:]


def padded(data: bytes) -> bytes:
    """Data up to the next whole block."""
    return data + bytes(-len(data) % BLOCK)


def entry(name: bytes = b"f", data: bytes = b"", **fields: bytes) -> bytes:
    """A header and its data."""
    return header(name, size=len(data), **fields) + padded(data)


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record of up to 9,999 bytes."""
    body = b" " + key + b"=" + value + b"\n"
    return next(
        b"%d" % length + body
        for length in range(len(body), len(body) + 5)
        if len(b"%d" % length) + len(body) == length
    )


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    """An extended header."""
    return entry(b"PaxHeaders/f", b"".join(record(*pair) for pair in records), kind=kind)


def binary(value: int, width: int = 12) -> bytes:
    """A number in base 256."""
    packed = bytearray((value & ((1 << 8 * width) - 1)).to_bytes(width, "big"))
    packed[0] |= 0x80
    return bytes(packed)
