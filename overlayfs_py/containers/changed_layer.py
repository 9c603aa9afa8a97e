"""What a container has changed, made into a layer: one that needs no other to be read.

Renamed directories are in it whole, files whose data lies in a layer with their data, and what is
gone as whiteouts. The same changes make the same layer, whatever order they were made in.
"""

from __future__ import annotations

import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.containers.image_difference import Kind
from overlayfs_py.containers.image_files import shown
from overlayfs_py.layers.reserved_xattrs import disk_name
from overlayfs_py.packs.values import Hole, Metadata

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from overlayfs_py.containers.changes import Change, ContainerFiles
    from overlayfs_py.containers.image_files import ImageFile, Path
    from overlayfs_py.packs.values import DataOrHole
    from overlayfs_py.packs.writer import PackWriter


def pack_changes(
    files: ContainerFiles,
    writer: PackWriter,
    latest_ns: int | None,
    *,
    left_out: Collection[Path] = (),
) -> bool:
    """Add all that a container has changed to a pack; whether that is anything.

    Times that the container has made are `latest_ns` at the latest, if that is given. New paths
    that are `left_out` are none of its changes: what was made for a mount.

    Raises:
        OSError: naming what cannot be read.
        BadEntry: naming what no pack can hold.
    """
    return _Layer(files, writer, latest_ns, left_out).add_all()


class _Layer:
    def __init__(
        self,
        files: ContainerFiles,
        writer: PackWriter,
        latest_ns: int | None,
        left_out: Collection[Path],
    ) -> None:
        self._files = files
        self._writer = writer
        self._latest_ns = latest_ns
        self._left_out = left_out
        self._linked: dict[int, Path] = {}  # the first path of each file with several

    def add_all(self) -> bool:
        root = self._files.root()
        self._writer.add_directory((), self._metadata(root))
        differs = self._files.differ(root)
        for change in self._files.layer():
            if change.kind is Kind.ADDED and change.path in self._left_out:
                continue
            differs = True
            with _naming(change.path):
                self._add(change)
        return differs

    def _add(self, change: Change) -> None:
        path, after, writer = change.path, change.after, self._writer
        if after is None:
            writer.add_whiteout(path)
            return
        found = after.attributes
        kind = stat.S_IFMT(found.mode)
        if kind == stat.S_IFDIR:
            writer.add_directory(path, self._metadata(change), opaque=change.hides)
            return
        if found.nlink > 1:
            first = self._linked.setdefault(found.ino, path)
            if first != path:
                writer.add_link(path, first)
                return
        meta = self._metadata(change)
        if kind == stat.S_IFREG:
            writer.add_file(path, meta, self._data(after))
        elif kind == stat.S_IFLNK:
            writer.add_symlink(path, meta, self._files.after.read_link(after))
        else:
            writer.add_special(path, kind, meta, found.rdev)

    def _metadata(self, change: Change) -> Metadata:
        assert change.after is not None
        found, before = change.after.attributes, change.before
        mtime_ns = found.mtime_ns
        is_new = before is None or before.attributes.mtime_ns != mtime_ns
        if is_new and self._latest_ns is not None and change.kind is not Kind.DELETED:
            mtime_ns = min(mtime_ns, self._latest_ns)
        xattrs = self._files.after.xattrs(change.after).items()
        return Metadata(
            stat.S_IMODE(found.mode),
            found.uid,
            found.gid,
            mtime_ns,
            None,
            tuple((disk_name(name), value) for name, value in xattrs),
        )

    def _data(self, file: ImageFile) -> Iterator[DataOrHole]:
        for piece in self._files.after.pieces(file):
            yield Hole(piece) if isinstance(piece, int) else piece


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error say which of the container's files it is about."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = shown(path)
        raise
