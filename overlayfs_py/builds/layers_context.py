"""The merged layers of an earlier stage or an image as a context, read without a mount."""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING, Self, cast

from overlayfs_py.builds.context import Item
from overlayfs_py.containers.image_files import ImageFiles
from overlayfs_py.packs.values import Hole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from overlayfs_py.containers.image_files import ImageFile
    from overlayfs_py.packs.values import DataOrHole
    from overlayfs_py.store.stored_layer import StoredLayer


class LayersContext:
    """What layers show together; owners are those of the layers unless all is to be root's.

    Layers never change, so that nothing is ever `ChangedMeanwhile`.
    """

    def __init__(self, layers: Sequence[StoredLayer], name: str, *, owned: bool = True) -> None:
        """Open the layers, lowest first, which the caller keeps in the store meanwhile."""
        self.name = name
        # Inode numbers are those of this very stack.
        stack = "".join(layer.diff_id for layer in layers)
        self.stats_name = f"layers-{hashlib.sha256(stack.encode()).hexdigest()[:32]}"
        self._owned = owned
        self._files = ImageFiles(layers)
        self.root = self._item(self._files.root()) if layers else _EMPTY_ROOT

    def close(self) -> None:
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def children(self, directory: Item) -> list[Item]:
        if directory.handle is None:
            return []
        return [self._item(child) for child in self._files.children(_file(directory))]

    def look(self, directory: Item, name: bytes) -> Item | None:
        if directory.handle is None:
            return None
        found = self._files.look(_file(directory), name)
        return None if found is None else self._item(found)

    def read_link(self, item: Item) -> bytes:
        return self._files.read_link(_file(item))

    def xattrs(self, item: Item) -> Mapping[bytes, bytes]:
        return {} if item.handle is None else self._files.xattrs(_file(item))

    def data(self, item: Item) -> Iterator[DataOrHole]:
        for piece in self._files.pieces(_file(item)):
            yield Hole(piece) if isinstance(piece, int) else piece

    def stamp(self, item: Item) -> tuple[int, ...]:
        return (cast("int", item.inode), item.size, item.mode)

    def is_at_rest(self, item: Item, since_ns: int) -> bool:
        del item, since_ns
        return True

    def _item(self, file: ImageFile) -> Item:
        seen = file.attributes
        return Item(
            file.path,
            seen.mode,
            seen.uid if self._owned else 0,
            seen.gid if self._owned else 0,
            seen.size if stat.S_ISREG(seen.mode) else 0,
            seen.mtime_ns,
            seen.rdev,
            seen.nlink,
            seen.ino,
            file,
        )


_EMPTY_ROOT = Item((), stat.S_IFDIR | 0o755, 0, 0, 0, 0, 0, 2, 0)


def _file(item: Item) -> ImageFile:
    return cast("ImageFile", item.handle)
