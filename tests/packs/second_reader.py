"""A reader written from docs/PACK.md alone: it shares nothing with the one under test."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import NamedTuple

import lz4.block


class Object(NamedTuple):
    mode: int
    flags: int
    owner: tuple[int, int]
    nlink: int
    mtime: tuple[int, int]
    atime: tuple[int, int]
    content: bytes | int | None  # data, a link's target, a device's major and minor as one number
    xattrs: dict[bytes, bytes]


def read(pack: bytes) -> dict[tuple[bytes, ...], Object | None]:
    """Every name of a pack and what it stands for; of a whiteout None, with b"" behind it."""
    return _Reader(pack).tree()


class _Reader:
    def __init__(self, pack: bytes) -> None:
        assert pack[:8] == b"\x93OLPACK\n"
        footer = pack[-512:]
        assert footer[:8] == b"\x93OLPEND\n"
        assert hashlib.sha256(footer[:480]).digest() == footer[480:]
        version, self.log2, sections = struct.unpack_from("<HBB", footer, 8)
        size, start, length = struct.unpack_from("<QQQ", footer, 16)
        assert (version, size) == (1, len(pack))
        assert pack[8:11] == footer[8:11]
        self.pack = pack
        index = pack[start : start + length]
        digests = pack[start + length : -512]
        assert hashlib.sha256(digests).digest() == footer[40:72]
        for page in range(0, length, 16384):
            digest = hashlib.sha256(index[page : page + 16384]).digest()
            assert digest == digests[page // 512 : page // 512 + 32]
        self.section: dict[int, bytes] = {}
        for number in range(sections):
            name, offset, extent = struct.unpack_from("<I4xQQ", footer, 72 + 24 * number)
            self.section[name] = index[offset : offset + extent]

    def tree(self) -> dict[tuple[bytes, ...], Object | None]:
        found: dict[tuple[bytes, ...], Object | None] = {(): self.object(0)}
        pending: list[tuple[tuple[bytes, ...], int]] = [((), 0)]
        while pending:
            path, number = pending.pop()
            first, amount = struct.unpack_from("<QI", self.section[1], 64 * number + 48)
            for at in range(first, first + amount):
                crc, offset, child, length, kind = struct.unpack_from(
                    "<IIIBB", self.section[2], 16 * at
                )
                name = self.section[3][offset : offset + length]
                assert zlib.crc32(name) == crc
                if kind == 0:
                    assert child == 0xFFFFFFFF
                    found[*path, name, b""] = None
                    continue
                found[*path, name] = self.object(child)
                if kind == 4:
                    pending.append(((*path, name), child))
        return found

    def object(self, number: int) -> Object:
        mode, flags, uid, gid, nlink, size = struct.unpack_from(
            "<HHIIIQ", self.section[1], 64 * number
        )
        mtime_s, atime_s, mtime_ns, atime_ns, first, amount, xattrs = struct.unpack_from(
            "<qqIIQII", self.section[1], 64 * number + 24
        )
        content: bytes | int | None = None
        match mode >> 12:
            case 8 if flags & 2:
                content = self.data(first, size)
            case 8:
                data = bytearray(size)
                for at in range(first, first + amount):
                    offset, length, address = struct.unpack_from("<QQQ", self.section[5], 24 * at)
                    data[offset : offset + length] = self.data(address, length)
                content = bytes(data)
            case 10:
                content = self.section[3][first : first + size]
            case 2 | 6:
                content = first
        times = (mtime_s, mtime_ns), (atime_s, atime_ns)
        return Object(mode, flags & 1, (uid, gid), nlink, *times, content, self.xattrs(xattrs))

    def data(self, address: int, length: int) -> bytes:
        pieces = []
        while length:
            number, start = divmod(address, 1 << self.log2)
            offset, stored, word, digest = struct.unpack_from(
                "<QII32s", self.section[6], 48 * number
            )
            block = self.pack[offset : offset + stored]
            assert hashlib.sha256(block).digest() == digest
            full = word % (1 << 24)
            data = lz4.block.decompress(block, uncompressed_size=full) if word >> 24 else block
            piece = data[start : start + length]
            assert piece
            pieces.append(piece)
            address, length = address + len(piece), length - len(piece)
        return b"".join(pieces)

    def xattrs(self, offset: int) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        if offset == 0:
            return found
        amount, _ = struct.unpack_from("<II", self.section[4], offset)
        at = offset + 8
        for _ in range(amount):
            name, value = struct.unpack_from("<HxxI", self.section[4], at)
            at += 8
            key = self.section[4][at : at + name]
            found[key] = self.section[4][at + name : at + name + value]
            at += name + value
        return found
