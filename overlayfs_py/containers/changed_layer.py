"""What a container has changed, made into a layer: one that needs no other to be read.

Renamed directories are in it whole, files whose data lies in a layer with their data, and what is
gone as whiteouts. The same changes make the same layer, whatever order they were made in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.containers.image_difference import Kind
from overlayfs_py.containers.packed_files import FilePacker, naming

if TYPE_CHECKING:
    from collections.abc import Collection

    from overlayfs_py.containers.changes import Change, ComparedFiles
    from overlayfs_py.containers.image_files import ImageFile, Path
    from overlayfs_py.packs.values import Metadata
    from overlayfs_py.packs.writer import PackWriter


def pack_changes(
    files: ComparedFiles,
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
        files: ComparedFiles,
        writer: PackWriter,
        latest_ns: int | None,
        left_out: Collection[Path],
    ) -> None:
        self._files = files
        self._writer = writer
        self._latest_ns = latest_ns
        self._left_out = left_out
        self._packer = FilePacker(files.after, writer)

    def add_all(self) -> bool:
        root = self._files.root()
        assert root.after is not None
        self._packer.add(root.after, self._metadata(root, root.after))
        differs = self._files.differ(root)
        for change in self._files.layer():
            if change.kind is Kind.ADDED and change.path in self._left_out:
                continue
            differs = True
            with naming(change.path):
                self._add(change)
        return differs

    def _add(self, change: Change) -> None:
        if change.after is None:
            self._writer.add_whiteout(change.path)
        else:
            metadata = self._metadata(change, change.after)
            self._packer.add(change.after, metadata, opaque=change.hides)

    def _metadata(self, change: Change, after: ImageFile) -> Metadata:
        metadata, before = self._packer.metadata_of(after), change.before
        is_new = before is None or before.attributes.mtime_ns != metadata.mtime_ns
        if is_new and self._latest_ns is not None and change.kind is not Kind.DELETED:
            return metadata._replace(mtime_ns=min(metadata.mtime_ns, self._latest_ns))
        return metadata
