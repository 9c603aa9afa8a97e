"""The layer of a RUN, written in one pass: its changes in the order that its tar has them in.

All times are whole seconds, as in the layers of BuildKit and docker (containerd's archive/tar.go
truncates them), and as COPY has them: a layer says the same wherever it was made.
"""

from __future__ import annotations

import stat
from collections import defaultdict
from typing import TYPE_CHECKING

from overlayfs_py.containers.packed_files import metadata_of, naming, pieces_of
from overlayfs_py.store.layer_writing import write_made_layer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from overlayfs_py.containers.changes import Change, ComparedFiles
    from overlayfs_py.containers.image_files import ImageFile, Path
    from overlayfs_py.packs.layer_writer import LayerWriter
    from overlayfs_py.packs.values import Metadata
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer

_PLAIN_MODE = 0o755
_SECOND_NS = 1_000_000_000


def add_step_layer(
    addition: Addition,
    files: ComparedFiles,
    latest_ns: int | None,
    *,
    left_out: Collection[Path] = (),
) -> StoredLayer:
    """Make a layer of all that a command has changed.

    Times that it has made are `latest_ns` at the latest, if that is given. New paths that are
    `left_out` are none of its changes: what was made for a mount.

    Raises:
        OSError: naming what cannot be read.
        BadEntry: naming what no layer can hold.
    """
    with addition.ingest_unknown_layer() as ingest:
        facts = write_made_layer(ingest, _Changes(files, latest_ns, left_out).write)
        return addition.commit_layer(ingest, facts)


class _Changes:
    """What a command has changed, by directory."""

    def __init__(
        self, files: ComparedFiles, latest_ns: int | None, left_out: Collection[Path]
    ) -> None:
        self._files = files
        self._latest_ns = latest_ns
        self._linked: dict[int, tuple[Path, Metadata]] = {}  # files with several names: the first
        # By name in each, as they came.
        self._below: defaultdict[Path, list[Change]] = defaultdict(list)
        for change in files.layer():
            if change.before is not None or change.path not in left_out:
                self._below[change.path[:-1]].append(change)

    def write(self, layer: LayerWriter) -> None:
        """Write all: a directory, what is gone from it, then what is in it."""
        root = self._files.root()
        assert root.after is not None
        metadata = self._metadata(root, root.after)
        if not is_plain(self._files, root):
            layer.add_directory((), metadata)
        pending = [*reversed([*self._in_order(layer, (), metadata)])]
        while pending:
            change = pending.pop()
            assert change.after is not None
            metadata = self._metadata(change, change.after)
            with naming(change.path):
                self._add(layer, change, change.after, metadata)
            if change.path in self._below:
                pending += reversed([*self._in_order(layer, change.path, metadata)])

    def _in_order(self, layer: LayerWriter, path: Path, metadata: Metadata) -> Iterator[Change]:
        """Write what is gone from a directory; yields what else has changed."""
        changes = self._below.pop(path, [])
        for change in changes:
            if change.after is None:
                layer.add_whiteout(change.path, metadata.mtime_ns)
        return (change for change in changes if change.after is not None)

    def _add(self, layer: LayerWriter, change: Change, file: ImageFile, meta: Metadata) -> None:
        path, found = file.path, file.attributes
        kind = stat.S_IFMT(found.mode)
        if kind == stat.S_IFDIR:
            layer.add_directory(path, meta, opaque=change.hides)
            return
        if kind == stat.S_IFSOCK:
            return  # no tar has a place for one
        if found.nlink > 1:
            first, shared = self._linked.setdefault(found.ino, (path, meta))
            if first != path:
                layer.add_link(path, first, shared)
                return
        after = self._files.after
        if kind == stat.S_IFREG:
            layer.add_file(path, meta, found.size, pieces_of(after, file))
        elif kind == stat.S_IFLNK:
            layer.add_symlink(path, meta, after.read_link(file))
        else:
            layer.add_special(path, kind, meta, found.rdev)

    def _metadata(self, change: Change, after: ImageFile) -> Metadata:
        metadata, before = metadata_of(self._files.after, after), change.before
        mtime_ns = metadata.mtime_ns
        is_new = before is None or before.attributes.mtime_ns != mtime_ns
        if is_new and self._latest_ns is not None:
            mtime_ns = min(mtime_ns, self._latest_ns)
        return metadata._replace(mtime_ns=mtime_ns // _SECOND_NS * _SECOND_NS)


def is_plain(files: ComparedFiles, root: Change) -> bool:
    """Whether the root is what a layer shows that says nothing of it."""
    assert root.after is not None
    found = root.after.attributes
    told = (found.mode & 0o7777, found.uid, found.gid)
    return told == (_PLAIN_MODE, 0, 0) and not files.after.xattrs(root.after)
