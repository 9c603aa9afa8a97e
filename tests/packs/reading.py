"""All that a pack shows as a layer, as a value; and packs in files and in memory."""

from __future__ import annotations

import io
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.layers.ids import IdMap
from overlayfs_py.layers.numbering import Numbering
from overlayfs_py.layers.values import WHITEOUT_TYPE, Attributes, Marks
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.layer import PackLayer
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.values import PackOptions
from overlayfs_py.packs.verification import verify
from overlayfs_py.packs.writer import PackWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from overlayfs_py.layers.interface import Layer, LayerDirectory, LayerFile

SMALL = PackOptions(chunk_log2=12)
WHITEOUT = "whiteout"


class Shown(NamedTuple):
    """One object; None stands where a kind of object has no such value."""

    attributes: Attributes
    content: bytes | None
    target: bytes | None
    marks: Marks | None
    xattrs: dict[bytes, bytes]


View = dict[tuple[bytes, ...], "Shown | str"]


def write(fill: Callable[[PackWriter], object], options: PackOptions = SMALL) -> bytes:
    """Return the bytes of a pack that `fill` fills."""
    out = io.BytesIO()
    writer = PackWriter(out, options)
    fill(writer)
    writer.finish()
    return out.getvalue()


@contextmanager
def layer_of(path: Path, data: bytes | None = None) -> Iterator[PackLayer]:
    """Open a pack as layer 1 of a mount; with `data` it is written to `path` first."""
    if data is not None:
        path.write_bytes(data)
    layer = PackLayer(Numbering(), Pack(os.fsencode(path)), IdMap())
    try:
        yield layer
    finally:
        layer.close()


def paths_of(layer: PackLayer, file: LayerFile) -> list[tuple[bytes, ...]]:
    """Return every name of a file that has several, as the pack's table of links tells."""
    number = file.origin().number
    assert number is not None
    return layer.pack.index.paths_of(number)


def faults(path: Path) -> list[str]:
    """Return what `verify` says of a pack, one that cannot be opened too."""
    try:
        with Pack(os.fsencode(path)) as pack:
            return [damage.why for damage in verify(pack)]
    except CorruptLayer as error:
        return [str(error.strerror)]


def view(layer: PackLayer) -> View:
    """Read everything, through the interface that the union uses."""
    seen: View = {(): _directory(layer.root)}
    for path, directory, name, kind in walk(layer):
        if kind == WHITEOUT_TYPE:
            assert directory.deletes(name)
            seen[path] = WHITEOUT
            continue
        found = directory.find(name)
        assert isinstance(found, Attributes)
        assert stat.S_IFMT(found.mode) == kind
        is_directory = kind == stat.S_IFDIR
        shown = (
            _directory(directory.directory(name)) if is_directory else _file(directory.file(name))
        )
        assert shown.attributes == found
        seen[path] = shown
    return seen


def walk(layer: Layer) -> Iterator[tuple[tuple[bytes, ...], LayerDirectory, bytes, int]]:
    """Yield each name: its path, the directory that has it, the name, the type it is listed as.

    A whiteout's path has one more component, since a directory may be beside it.
    """
    pending: list[tuple[tuple[bytes, ...], LayerDirectory]] = [((), layer.root)]
    while pending:
        path, directory = pending.pop()
        # All at once: listings of one host directory share a position.
        for name, kind in list(directory.entries()):
            if kind == WHITEOUT_TYPE:
                yield (*path, name, b""), directory, name, kind
                continue
            yield (*path, name), directory, name, kind
            if kind == stat.S_IFDIR:
                pending.append(((*path, name), directory.directory(name)))


def _directory(directory: LayerDirectory) -> Shown:
    xattrs = {name: directory.get_xattr(name) for name in directory.list_xattrs()}
    return Shown(directory.attributes(), None, None, directory.marks(), xattrs)


def _file(file: LayerFile) -> Shown:
    found = file.attributes()
    content = target = None
    if stat.S_ISREG(found.mode):
        reader = file.open_reader()
        content = reader.read(0, found.size + 1)
        assert len(content) == found.size
        reader.close()
    elif stat.S_ISLNK(found.mode):
        target = file.read_link()
    xattrs = {name: file.get_xattr(name) for name in file.list_xattrs()}
    return Shown(found, content, target, None, xattrs)
