"""Packs of which every digest is right, and whose tables are as large as a liar can make them."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from overlayfs_py.packs.format import (
    EXTENT,
    INODE,
    XATTR,
    XATTR_ALIGNMENT,
    XATTR_SET,
    Inode,
    SectionId,
)
from overlayfs_py.packs.values import Hole, Metadata, PackOptions
from overlayfs_py.packs.writer import PackWriter
from tests.support.resealing import resealed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.packs.values import DataOrHole

    Sections = dict[int, tuple[int, int]]

_FILE = Metadata()
_DIRECTORY = Metadata(mode=0o755)
_SMALL_CHUNKS = PackOptions(chunk_log2=12)
_XATTR = b"user.%07x"


def write_files(path: Path, pieces: int, chunks: int) -> None:
    """Files that are bad by themselves.

    `sparse` is made of as many pieces with holes between them, `dense` of as many without, `small`
    of as many as a file has bytes that is copied at once; `chunked` of so many chunks. `xattrs`
    has all that a set can have, and the target of `link` is the whole table of names.
    """
    with path.open("w+b") as file:
        pack = PackWriter(file, _SMALL_CHUNKS)
        pack.add_directory((), _DIRECTORY)
        pack.add_file((b"sparse",), _FILE, _with_holes(pieces))
        dense = pack.add_file((b"dense",), _FILE, _with_holes(pieces))
        small = pack.add_file((b"small",), _FILE, _with_holes(1 << 15))
        piece = os.urandom(1 << 12)
        pack.add_file((b"chunked",), _FILE, (piece for _ in range(chunks)))
        values = tuple((b"user.%d" % number, bytes(1 << 16)) for number in range(255))
        xattrs = pack.add_file((b"xattrs",), Metadata(xattrs=values), (b"x",))
        link = pack.add_symlink((b"link",), _FILE, b"target")
        for number in range(pieces // 100):
            pack.add_file((b"%0255d" % number,), _FILE, ())
        pack.finish()

    def lie(index: bytearray, sections: Sections) -> None:
        for number in (dense, small):
            _without_holes(index, sections, number)
        _with_all_xattrs(index, sections, xattrs)
        _put(index, link, size=sections[SectionId.NAMES][1] - _inode(index, link).first)

    path.write_bytes(resealed(path.read_bytes(), lie))


def write_names(path: Path, depth: int, names: int) -> None:
    """Names: `d/d/...` so deep, in `long` so many of 255 bytes, in `links` so many of a file."""
    with path.open("wb") as file:
        pack = PackWriter(file)
        pack.add_directory((), _DIRECTORY)
        pack.add_file((*[b"d"] * depth, b"file"), _FILE, (b"deep",))
        first = (b"links", b"0")
        pack.add_file(first, _FILE, (b"linked",))
        for number in range(names):
            pack.add_file((b"long", b"%0255d" % number), _FILE, ())
            pack.add_link((b"links", b"%d" % number), first)
        pack.finish()


def _with_holes(pieces: int) -> Iterator[DataOrHole]:
    for _ in range(pieces):
        yield b"x"
        yield Hole(1)


def _without_holes(index: bytearray, sections: Sections, number: int) -> None:
    """Let the pieces of a file follow each other."""
    inode = _inode(index, number)
    start = sections[SectionId.EXTENTS][0] + inode.first * EXTENT.size
    for offset in range(inode.amount):
        struct.pack_into("<Q", index, start + offset * EXTENT.size, offset)
    _put(index, number, size=inode.amount, flags=0)


def _with_all_xattrs(index: bytearray, sections: Sections, number: int) -> None:
    """Let a set that is large be one of many."""
    start = sections[SectionId.XATTRS][0] + _inode(index, number).xattrs
    _, length = XATTR_SET.unpack_from(index, start)
    each = XATTR.size + len(_XATTR % 0)
    count = (length - XATTR_SET.size) // each
    head = XATTR.pack(len(_XATTR % 0), 0)
    body = b"".join(head + _XATTR % number for number in range(count))
    size = XATTR_SET.size + len(body)
    padding = bytes(-size % XATTR_ALIGNMENT)
    new = XATTR_SET.pack(count, size) + body + padding
    index[start : start + len(new)] = new


def _inode(index: bytearray, number: int) -> Inode:
    return Inode._make(INODE.unpack_from(index, number * INODE.size))


def _put(index: bytearray, number: int, **fields: int) -> None:
    INODE.pack_into(index, number * INODE.size, *_inode(index, number)._replace(**fields))
