"""All files of a container, or of an image, as one tar; nothing is mounted for it."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from overlayfs_py.tars.members import Hole, Kind, Member
from overlayfs_py.tars.writer import TarWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles, Path

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFIFO: Kind.FIFO,
}


def write_tar(files: ImageFiles, write: Callable[[bytes | memoryview], object]) -> None:
    """Write everything, by name, a directory before what is in it; sockets have no place in a tar.

    `write` takes each piece whole.

    Raises:
        OSError: naming what cannot be read. What was written is then no tar.
    """
    tar = TarWriter(write)
    linked: dict[int, Path] = {}  # the first path of each file with several
    for file in files.walk():
        kind = _KINDS.get(stat.S_IFMT(file.attributes.mode))
        if kind is None:
            continue
        if kind is not Kind.DIRECTORY and file.attributes.nlink > 1:
            first = linked.setdefault(file.attributes.ino, file.path)
            if first != file.path:
                tar.add(_member(file, Kind.HARD_LINK)._replace(link=first))
                continue
        member = _member(file, kind)._replace(xattrs=tuple(files.xattrs(file).items()))
        if kind is Kind.SYMLINK:
            tar.add(member._replace(target=files.read_link(file)))
        elif kind is Kind.FILE:
            tar.add(member._replace(size=file.attributes.size), _data(files, file))
        else:
            tar.add(member)
    tar.finish()


def _member(file: ImageFile, kind: Kind) -> Member:
    found = file.attributes
    return Member(
        file.path,
        kind,
        stat.S_IMODE(found.mode),
        found.uid,
        found.gid,
        found.mtime_ns,
        rdev=found.rdev if kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) else 0,
    )


def _data(files: ImageFiles, file: ImageFile) -> Iterator[bytes | Hole]:
    for piece in files.pieces(file):
        yield Hole(piece) if isinstance(piece, int) else piece
