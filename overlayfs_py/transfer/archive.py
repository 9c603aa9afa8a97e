"""The files of an image archive, one after the other: of a tar as a stream, or of a directory.

Nothing is unpacked and no name of an archive is ever one on the host.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.tars.compression import LayerStream
from overlayfs_py.tars.errors import BadTar
from overlayfs_py.tars.members import Kind
from overlayfs_py.tars.reader import TarReader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.tars.members import Hole

    Name = tuple[bytes, ...]

_BLOCK_BYTES = 256 << 10
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
# Zeros that a sparse file of an archive is made of: as many as any archive may have, and more the
# more has come. What packs its files so (GNU tar -S) finds no more in them than gzip would.
_FREE_ZEROS = 1 << 30
_ZEROS_A_BYTE = 1000
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
    zeros = _Zeros(reader)
    for member in reader:
        match member.kind:
            case Kind.FILE:
                yield ArchiveFile(member.path, member.size, _data(reader.data(), zeros))
            case Kind.SYMLINK:
                yield ArchiveLink(member.path, _resolved(member.path, member.target))
            case Kind.HARD_LINK:
                yield ArchiveLink(member.path, member.link)
            case _:
                continue


def read_directory(root: Path) -> Iterator[ArchiveFile | ArchiveLink]:
    """Yield the regular files of an unpacked archive, and the links in it as in a tar's.

    No link is followed on the host, whatever the directory's owner changes meanwhile.
    """
    top = os.path.realpath(os.fsencode(root))
    for directory, names, files, dir_fd in os.fwalk(top, follow_symlinks=False):
        inside = os.path.relpath(directory, top)
        above = () if inside == b"." else tuple(inside.split(b"/"))
        # Links to directories are among the names; the walk does not enter them.
        found = sorted([*files, *names])
        if len(above) >= _DEEPEST:
            names.clear()
        for name in found:
            yield from _named(dir_fd, (*above, name))


def _named(dir_fd: int, name: Name) -> Iterator[ArchiveFile | ArchiveLink]:
    """What a directory has under the last component of `name`; nothing for what is no file."""
    status = os.stat(name[-1], dir_fd=dir_fd, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        yield ArchiveLink(name, _resolved(name, os.readlink(name[-1], dir_fd=dir_fd)))
    if not stat.S_ISREG(status.st_mode):
        return
    fd = os.open(name[-1], _OPEN, dir_fd=dir_fd)
    with open(fd, "rb", buffering=0) as file:
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            yield ArchiveFile(name, status.st_size, read_blocks(file))


def read_blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's bytes from where it is."""
    while block := file.read(_BLOCK_BYTES):
        yield block


def _data(pieces: Iterator[memoryview | Hole], zeros: _Zeros) -> Iterator[bytes]:
    for piece in pieces:
        if isinstance(piece, memoryview):
            yield bytes(piece)
        else:
            yield from zeros.of(piece.length)


class _Zeros:
    """What holes are read as; an archive of a few bytes may name exabytes of them."""

    def __init__(self, reader: TarReader) -> None:
        self._reader = reader
        self._made = 0

    def of(self, count: int) -> Iterator[bytes]:
        """Yield so many zeros.

        Raises:
            BadTar: the archive has not come with enough for them.
        """
        self._made += count
        if self._made > _FREE_ZEROS + _ZEROS_A_BYTE * self._reader.position:
            raise BadTar(f"{self._made} bytes of holes", self._reader.position)
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
