"""The files of an image archive, one after the other: of a tar as a stream, or of a directory.

Nothing is unpacked and no name of an archive is ever one on the host.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.tars.compression import LayerStream
from overlayfs_py.tars.members import Kind
from overlayfs_py.tars.reader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.tars.members import Hole

    Name = tuple[bytes, ...]

_BLOCK_BYTES = 256 << 10
_DEEPEST = 4  # `blobs/sha256/HEX` is 3 deep


class ArchiveFile(NamedTuple):
    """One file, its data to be taken before the next file is asked for."""

    name: Name
    size: int
    blocks: Iterator[bytes]


class ArchiveLink(NamedTuple):
    """A name that means another one: old archives have equal layers once."""

    name: Name
    target: Name


def read_archive(source: BinaryIO) -> Iterator[ArchiveFile | ArchiveLink]:
    """Yield what is in a tar, compressed or not, that is read once from beginning to end.

    Raises:
        BadTar, BadCompression: it is none, or damaged.
    """
    reader = TarReader(LayerStream(read_blocks(source)))
    for member in reader:
        match member.kind:
            case Kind.FILE:
                yield ArchiveFile(member.path, member.size, _data(reader.data()))
            case Kind.SYMLINK:
                yield ArchiveLink(member.path, _resolved(member.path, member.target))
            case Kind.HARD_LINK:
                yield ArchiveLink(member.path, member.link)
            case _:
                continue


def read_directory(root: Path) -> Iterator[ArchiveFile | ArchiveLink]:
    """Yield the regular files of an unpacked archive."""
    for directory, names, files in os.walk(os.fsencode(root)):
        inside = os.path.relpath(directory, os.fsencode(root))
        above = () if inside == b"." else tuple(inside.split(b"/"))
        if len(above) >= _DEEPEST:
            names.clear()
        for name in sorted(files):
            path = os.path.join(directory, name)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            with open(fd, "rb", buffering=0) as file:
                status = os.fstat(fd)
                if stat.S_ISREG(status.st_mode):
                    yield ArchiveFile((*above, name), status.st_size, read_blocks(file))


def read_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's bytes from where it is."""
    while block := file.read(_BLOCK_BYTES):
        yield block


def _data(pieces: Iterator[memoryview | Hole]) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, memoryview):
            yield bytes(piece)
        else:
            yield from _zeros(piece.length)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, _BLOCK_BYTES))
        count -= _BLOCK_BYTES


def _resolved(name: Name, target: bytes) -> Name:
    """What a symbolic link means inside of its archive; `..` ends at the top."""
    parts = [] if target.startswith(b"/") else list(name[:-1])
    for part in target.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)
