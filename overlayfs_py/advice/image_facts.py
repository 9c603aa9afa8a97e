"""What each layer of a stored image says: files, deletions, and the instruction that made it.

Names and attributes come from the layers as they lie in the store, indexes of packs for example;
contents are read only where a rule asks for one.
"""

from __future__ import annotations

import hashlib
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Self

from overlayfs_py.image.history import steps
from overlayfs_py.layers.values import WHITEOUT_TYPE, Attributes
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.union.nodes import DirectoryNode
from overlayfs_py.union.opening import open_union

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overlayfs_py.image.config import ImageConfig
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.layers.interface import LayerDirectory, Reader
    from overlayfs_py.store.stored_layer import StoredLayer

_PIECE_BYTES = 1 << 20


class FileFact(NamedTuple):
    """One name in one layer."""

    at: int  # the layer's place in the stack, the lowest is 0
    path: bytes  # without a slash in front
    mode: int
    uid: int
    gid: int
    size: int  # bytes; 0 for all that is no regular file
    number: int  # the names of one file in a layer share it

    @property
    def key(self) -> tuple[int, int]:
        """What its names have in common: bytes count once."""
        return self.at, self.number

    @property
    def is_regular(self) -> bool:
        """Whether it has data."""
        return stat.S_ISREG(self.mode)

    @property
    def is_directory(self) -> bool:
        """Whether others may lie in it."""
        return stat.S_ISDIR(self.mode)


class LayerFacts(NamedTuple):
    """What one layer shows and deletes."""

    at: int
    diff_id: Digest
    created_by: str  # as the history has it; empty where it tells nothing
    files: list[FileFact]  # directories before what is in them
    deleted: list[bytes]
    opaque: list[bytes]  # directories that hide what lower layers have in them

    @property
    def bytes(self) -> int:
        """What its files hold, a file with several names once."""
        return sum({fact.number: fact.size for fact in self.files}.values())


class ImageFacts:
    """The layers of an image, open as long as it is used."""

    def __init__(
        self,
        config: ImageConfig,
        layers: Sequence[StoredLayer],
        on_file: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Read the layers, lowest first; the caller keeps them in the store meanwhile.

        `on_file` is told of each file that was read, by its layer.
        """
        self.config = config
        self._open = ExitStack()
        self._roots: list[LayerDirectory | None] = []
        self.layers: list[LayerFacts] = []
        told = {step.layer: step.entry.created_by for step in steps(config)}
        # Of a layer that an image has twice the upper one hides all that the other shows.
        last = {layer.diff_id: at for at, layer in enumerate(layers)}
        with ExitStack() as failing:
            failing.callback(self.close)
            for at, layer in enumerate(layers):
                facts = LayerFacts(at, layer.diff_id, told.get(at, ""), [], [], [])
                self.layers.append(facts)
                self._roots.append(None)
                if last[layer.diff_id] == at:
                    union = open_union(stack_of((layer.path,)))
                    self._open.callback(union.close)
                    assert isinstance(union.root, DirectoryNode)
                    (backing,) = union.root.lowers
                    self._roots[at] = backing.directory
                    _read(backing.directory, facts, on_file)
            failing.pop_all()

    def close(self) -> None:
        """Close the layers."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def beginning(self, fact: FileFact, size: int) -> bytes:
        """The first bytes of a regular file."""
        reader = self._reader(fact)
        try:
            return reader.read(0, min(size, fact.size))
        finally:
            reader.close()

    def digest(self, fact: FileFact) -> bytes:
        """A digest of a regular file's data."""
        digest = hashlib.sha256()
        reader = self._reader(fact)
        try:
            for offset in range(0, fact.size, _PIECE_BYTES):
                digest.update(reader.read(offset, min(_PIECE_BYTES, fact.size - offset)))
        finally:
            reader.close()
        return digest.digest()

    def _reader(self, fact: FileFact) -> Reader:
        directory = self._roots[fact.at]
        assert directory is not None  # it was read for the fact
        *above, name = fact.path.split(b"/")
        for component in above:
            directory = directory.directory(component)
        return directory.file(name).open_reader()


def _read(root: LayerDirectory, facts: LayerFacts, on_file: Callable[[int], object]) -> None:
    pending: list[tuple[bytes, LayerDirectory]] = [(b"", root)]
    while pending:
        above, directory = pending.pop()
        for name, kind in sorted(directory.entries()):
            path = above + name
            if kind == WHITEOUT_TYPE:
                facts.deleted.append(path)
                continue
            found = directory.find(name)
            if not isinstance(found, Attributes):
                continue
            facts.files.append(_fact(facts.at, path, found))
            on_file(facts.at)
            if stat.S_ISDIR(found.mode):
                below = directory.directory(name, found.ino)
                if below.marks().opaque:
                    facts.opaque.append(path)
                pending.append((path + b"/", below))


def _fact(at: int, path: bytes, found: Attributes) -> FileFact:
    size = found.size if stat.S_ISREG(found.mode) else 0
    return FileFact(at, path, found.mode, found.uid, found.gid, size, found.ino)
