"""Files as the layers of an image show them, put into a pack."""

from __future__ import annotations

import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.containers.image_files import shown
from overlayfs_py.layers.reserved_xattrs import disk_name
from overlayfs_py.packs.values import Hole, Metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles, Path
    from overlayfs_py.packs.values import DataOrHole
    from overlayfs_py.packs.writer import PackWriter


class FilePacker:
    """Adds files to a pack; further names of one that is in it as links."""

    def __init__(self, files: ImageFiles, writer: PackWriter) -> None:
        self._files = files
        self._writer = writer
        self._linked: dict[int, Path] = {}  # the first path of each file with several

    def add(self, file: ImageFile, metadata: Metadata, *, opaque: bool = False) -> None:
        """Add a file, directory or anything else; directories before what is in them.

        Raises:
            OSError: naming what cannot be read.
            BadEntry: naming what no pack can hold.
        """
        path, found, writer = file.path, file.attributes, self._writer
        kind = stat.S_IFMT(found.mode)
        if kind == stat.S_IFDIR:
            writer.add_directory(path, metadata, opaque=opaque)
            return
        if found.nlink > 1:
            first = self._linked.setdefault(found.ino, path)
            if first != path:
                writer.add_link(path, first)
                return
        if kind == stat.S_IFREG:
            writer.add_file(path, metadata, pieces_of(self._files, file))
        elif kind == stat.S_IFLNK:
            writer.add_symlink(path, metadata, self._files.read_link(file))
        else:
            writer.add_special(path, kind, metadata, found.rdev)

    def metadata_of(self, file: ImageFile) -> Metadata:
        """All that a file is but its data."""
        return metadata_of(self._files, file)


def metadata_of(files: ImageFiles, file: ImageFile) -> Metadata:
    """All that a file of these is but its data."""
    found = file.attributes
    xattrs = tuple((disk_name(name), value) for name, value in files.xattrs(file).items())
    mode = stat.S_IMODE(found.mode)
    return Metadata(mode, found.uid, found.gid, found.mtime_ns, None, xattrs)


def pieces_of(files: ImageFiles, file: ImageFile) -> Iterator[DataOrHole]:
    """The data of a file of these."""
    for piece in files.pieces(file):
        yield Hole(piece) if isinstance(piece, int) else piece


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error say which of an image's files it is about."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = shown(path)
        raise
