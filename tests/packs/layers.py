"""Layers compared object by object, through what every layer can say of itself."""

from __future__ import annotations

import os
import stat
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from overlayfs_py.layers.descriptors import DescriptorCache
from overlayfs_py.layers.ids import IdMap
from overlayfs_py.layers.marks import TRUSTED_MARKS
from overlayfs_py.layers.numbering import Numbering
from overlayfs_py.layers.opening import open_directory_layer
from overlayfs_py.layers.values import WHITEOUT_TYPE, Attributes
from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.packs.writer import PackWriter
from tests.packs.reading import SMALL, walk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.layers.interface import Layer, LayerDirectory, LayerObject
    from overlayfs_py.packs.values import PackOptions

Told = dict[tuple[bytes, ...], Any]


def pack(directory: Path, target: Path, options: PackOptions = SMALL) -> Path:
    """Make a pack of a directory."""
    with target.open("wb") as out:
        writer = PackWriter(out, options)
        pack_directory(os.fsencode(directory), writer)
        writer.finish()
    return target


@contextmanager
def directory_layer(path: Path) -> Iterator[Layer]:
    descriptors: DescriptorCache[int] = DescriptorCache(64, os.close)
    opened = open_directory_layer(
        Numbering(),
        os.fsencode(path),
        IdMap(),
        descriptors,
        mark_names=TRUSTED_MARKS,
        overrides=True,
    )
    with closing(opened) as layer:
        yield layer
        descriptors.clear()


def tell(layer: Layer) -> Told:
    """Return what a layer says of everything in it."""
    told: Told = {(): _object(layer.root, layer.root.attributes())}
    for path, directory, name, kind in walk(layer):
        told[path] = _entry(directory, name, kind)
    return told


def _entry(directory: LayerDirectory, name: bytes, kind: int) -> object:
    found = directory.find(name)
    if kind == WHITEOUT_TYPE:
        return not isinstance(found, Attributes) or directory.deletes(name)
    assert isinstance(found, Attributes), name
    if kind == stat.S_IFDIR:
        below = directory.directory(name)
        return *_object(below, found), below.marks()
    file = directory.file(name)
    told = _object(file, found)
    if stat.S_ISREG(kind):
        reader = file.open_reader()
        told = *told, reader.read(0, found.size)
        reader.close()
    if stat.S_ISLNK(kind):
        told = *told, file.read_link()
    return told


def _object(item: LayerObject, found: Attributes) -> tuple[object, ...]:
    """All that a layer has to keep; numbers and sizes of the filesystem it lies on left out."""
    is_directory = stat.S_ISDIR(found.mode)
    kept = found._replace(ino=0, blocks=0, blksize=0, atime_ns=0, ctime_ns=0)
    if is_directory:
        kept = kept._replace(size=0, nlink=0)
    marks = (b"trusted.overlay.opaque",)
    names = sorted(name for name in item.list_xattrs() if name not in marks)
    return kept, [(name, item.get_xattr(name)) for name in names]
