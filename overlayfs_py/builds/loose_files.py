"""Files that lie nowhere as a context: a heredoc's text, what a URL gave."""

from __future__ import annotations

import os
import stat
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

from overlayfs_py.builds.context import Item
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from overlayfs_py.packs.values import DataOrHole


class LooseFile(NamedTuple):
    """One file, which is root's."""

    name: bytes
    mode: int  # permission bits
    mtime_ns: int
    size: int
    data: Callable[[], Iterable[bytes]]


class LooseFiles:
    """Some files side by side. They stay as they are."""

    stats_name = ""

    def __init__(
        self, files: Sequence[LooseFile], name: str, held: Sequence[BinaryIO] = ()
    ) -> None:
        """Take over `held`, the files that data is in."""
        self.name = name
        self._held = held
        self._items = [_item(at, file) for at, file in enumerate(files, 1)]
        self.root = Item((), stat.S_IFDIR | 0o755, 0, 0, 0, 0, 0, 2, 0)

    def close(self) -> None:
        for file in self._held:
            file.close()

    def children(self, directory: Item) -> list[Item]:
        return [] if directory.path else sorted(self._items)

    def look(self, directory: Item, name: bytes) -> Item | None:
        return next((each for each in self.children(directory) if each.path == (name,)), None)

    def read_link(self, item: Item) -> bytes:
        raise TypeError(f"no symbolic link: {item.path}")

    def xattrs(self, item: Item) -> Mapping[bytes, bytes]:
        del item
        return {}

    def data(self, item: Item) -> Iterator[DataOrHole]:
        yield from cast("LooseFile", item.handle).data()

    def stamp(self, item: Item) -> tuple[int, ...]:
        return (cast("int", item.inode),)

    def is_at_rest(self, item: Item, since_ns: int) -> bool:
        del item, since_ns
        return False


def heredocs(bodies: Mapping[str, bytes], mtime_ns: int) -> LooseFiles:
    """Return heredocs, by the names that the Dockerfile gives them, as files."""
    files = [
        LooseFile(os.fsencode(name), 0o644, mtime_ns, len(body), partial(_whole, body))
        for name, body in bodies.items()
    ]
    return LooseFiles(files, "the Dockerfile")


def _whole(body: bytes) -> tuple[bytes]:
    return (body,)


def _item(at: int, file: LooseFile) -> Item:
    return Item(
        (file.name,), stat.S_IFREG | file.mode, 0, 0, file.size, file.mtime_ns, 0, 1, at, file
    )
