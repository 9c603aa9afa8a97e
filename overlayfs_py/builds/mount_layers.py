"""A cache mount as a layer, to go elsewhere and come back: files, directories and links alone.

What comes from elsewhere is believed in nothing: no device, nothing that marks a layer, and no name
that leads out of the directory.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.builds.failures import BuildFailure
from overlayfs_py.containers import user_namespace
from overlayfs_py.image.digest import Digest
from overlayfs_py.layers.reserved_xattrs import disk_name, is_users
from overlayfs_py.mounts import children
from overlayfs_py.packs.format import NO_INODE, ROOT, Flag
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_directory import unpack
from overlayfs_py.packs.values import Metadata
from overlayfs_py.store.layer_writing import write_made_layer
from overlayfs_py.union.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.mounts.children import Report
    from overlayfs_py.packs.layer_writer import LayerWriter
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer

_STEP = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_KEPT = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
_TRUSTED = b"trusted."
_WHITEOUT = b".wh."  # a name that no layer can have


def make_layer(addition: Addition, data: Path) -> StoredLayer:
    """Make a layer of a cache mount that no step has just now; the same one gives the same.

    The calling process has one thread. Sockets, devices and FIFOs stay behind.

    Raises:
        Failure: it cannot be read, or changes meanwhile.
    """

    def work(report: Report) -> None:
        # Of an ordinary user's namespace: files of others lie in it.
        if os.geteuid() and not user_namespace.may_mount():
            user_namespace.enter()
        with addition.ingest_unknown_layer() as ingest:
            facts = write_made_layer(ingest, lambda writer: _Packing(writer, data).run())
            layer = addition.commit_layer(ingest, facts)
        report.ready(layer.diff_id.encode())

    child = children.start(work)
    diff_id = Digest(child.ready().decode())
    child.wait()
    layer = addition.find_layer(diff_id)
    assert layer is not None, "it stays as long as the addition"
    return layer


def is_empty(data: Path) -> bool:
    """Whether nothing is in a cache mount; one that may not be looked into is not empty."""
    try:
        return not any(data.iterdir())
    except PermissionError:
        return False


def fill(layer: StoredLayer, target: Path) -> None:
    """Make a cache mount of a layer from elsewhere at `target`, where nothing may be.

    Raises:
        BuildFailure: it is no cache mount's.
        CorruptLayer, OSError: it cannot be made. Nothing is there then.
    """
    with Pack(layer.path) as pack:
        _require_plain(pack)
        target.mkdir()
        try:
            unpack(pack, os.fsencode(target), privileged=True)
        except OSError:
            fd = os.open(target.parent, _DIRECTORY)
            try:
                remove_tree(fd, os.fsencode(target.name))
            finally:
                os.close(fd)
            raise


def _require_plain(pack: Pack) -> None:
    index = pack.index
    pending = [ROOT]
    while pending:
        directory = index.directory(pending.pop())
        if directory.flags & Flag.OPAQUE:
            raise BuildFailure("cache mount", "a directory in it is marked as a layer's")
        for name, number, _ in index.names(directory):
            if number == NO_INODE:
                raise BuildFailure("cache mount", f"{os.fsdecode(name)} in it is a deletion")
            inode = index.inode(number)
            kind = stat.S_IFMT(inode.mode)
            if kind not in _KEPT:
                raise BuildFailure("cache mount", f"{os.fsdecode(name)} in it is no file")
            if any(key.startswith(_TRUSTED) for key in index.xattrs(inode)):
                raise BuildFailure("cache mount", f"{os.fsdecode(name)} in it has trusted xattrs")
            if kind == stat.S_IFDIR:
                pending.append(number)


class _Packing:
    """One tree on its way into a layer, in the order that a layer's tar has."""

    def __init__(self, writer: LayerWriter, top: Path) -> None:
        self._writer = writer
        self._top = os.fsencode(top)
        self._linked: dict[int, tuple[tuple[bytes, ...], Metadata]] = {}

    def run(self) -> None:
        fd = os.open(self._top, _DIRECTORY)
        self._writer.add_directory((), _metadata(fd, os.fstat(fd)))
        # Descriptors of the directories on the way, each with the names that are still to come.
        pending: list[tuple[int, tuple[bytes, ...], list[bytes]]] = [(fd, (), _names(fd))]
        try:
            while pending:
                fd, path, names = pending[-1]
                if not names:
                    os.close(pending.pop()[0])
                    continue
                name = names.pop()
                below = self._add(fd, (*path, name))
                if below is not None:
                    pending.append((below, (*path, name), _names(below)))
        finally:
            for fd, _, _ in pending:
                os.close(fd)

    def _add(self, parent_fd: int, path: tuple[bytes, ...]) -> int | None:
        """Add one object; returns a directory's descriptor."""
        name = path[-1]
        status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFDIR:
            fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
            self._writer.add_directory(path, _metadata(fd, status))
            return fd
        if kind not in _KEPT:
            return None
        if status.st_nlink > 1 and status.st_ino in self._linked:
            self._writer.add_link(path, *self._linked[status.st_ino])
            return None
        if kind == stat.S_IFLNK:
            meta = _metadata(None, status)
            self._writer.add_symlink(path, meta, os.readlink(name, dir_fd=parent_fd))
        else:
            meta = self._add_file(parent_fd, path)
        if status.st_nlink > 1:
            self._linked[status.st_ino] = path, meta
        return None

    def _add_file(self, parent_fd: int, path: tuple[bytes, ...]) -> Metadata:
        fd = os.open(path[-1], _FILE, dir_fd=parent_fd)
        try:
            status = os.fstat(fd)
            meta = _metadata(fd, status)
            self._writer.add_file(path, meta, status.st_size, _data(fd))
        finally:
            os.close(fd)
        return meta


def _names(fd: int) -> list[bytes]:
    """What a directory has, the last name first."""
    found = (os.fsencode(name) for name in os.listdir(fd))
    return sorted((name for name in found if not name.startswith(_WHITEOUT)), reverse=True)


def _metadata(fd: int | None, status: os.stat_result) -> Metadata:
    return Metadata(
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_mtime_ns,
        None,
        () if fd is None else tuple(_xattrs(fd)),
    )


def _xattrs(fd: int) -> Iterator[tuple[bytes, bytes]]:
    for name in os.listxattr(fd):
        key = os.fsencode(name)
        if key.startswith((b"user.", b"security.capability")) and is_users(disk_name(key)):
            yield disk_name(key), os.getxattr(fd, name)


def _data(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _STEP):
        yield piece
