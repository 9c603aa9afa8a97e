"""The files of an image, read straight from its layers: nothing is mounted and nothing unpacked."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple, Self

from overlayfs_py import link_walk
from overlayfs_py.mounts.stored_stack import stack_of
from overlayfs_py.union.core import Union
from overlayfs_py.union.lowers import find_lower
from overlayfs_py.union.nodes import DirectoryNode
from overlayfs_py.union.values import StackSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.union.nodes import Node

Path = tuple[bytes, ...]

_CHUNK_BYTES = 1 << 20


class ImageFile(NamedTuple):
    """A file, directory or anything else of an image."""

    path: Path  # empty: the root
    node: Node
    attributes: Attributes
    layer: Digest | None  # the topmost one that has it; None: a container's own files


class ImageFiles:
    """All that the layers of an image show together. Open as long as it is used."""

    def __init__(
        self,
        layers: Sequence[StoredLayer],
        *,
        above: Sequence[bytes] = (),
        below: Sequence[bytes] = (),
        copies: bytes | None = None,
    ) -> None:
        """Open the layers, lowest first; the caller keeps them in the store meanwhile.

        Directories `above` and `below` them are a container's: its upper may hold metacopies, and
        the workdir `copies` more of what it has changed.
        """
        # One that is there twice only once, as `LayersInUse.lower`.
        stored = {layer.path: layer.diff_id for layer in reversed(layers)}
        by_path: dict[bytes, Digest | None] = dict.fromkeys(above)
        by_path |= stored
        by_path |= dict.fromkeys(below)
        self._ids = list(by_path.values())
        spec = stack_of(tuple(by_path))._replace(metacopy=bool(above), copies=copies)
        self._open(spec if by_path else None)

    @classmethod
    def of_directory(cls, path: bytes) -> Self:
        """All that a directory holds, as it is: nothing in it means a deletion or is a mark."""
        files = cls.__new__(cls)
        files._ids = [None]  # noqa: SLF001 - its own
        files._open(StackSpec((path,), plain=True))  # noqa: SLF001
        return files

    def _open(self, spec: StackSpec | None) -> None:
        self._union = None if spec is None else Union(spec)
        # The numbers of files of which names show that are not the upper's.
        self._copied = set() if self._union is None else self._union.copies_elsewhere()

    def close(self) -> None:
        """Close the layers."""
        if self._union is not None:
            self._union.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def walk(self, start: Path = ()) -> Iterator[ImageFile]:
        """Yield what is at `start` and all below it, each directory before what is in it, by name.

        Raises:
            FileNotFoundError: there is nothing at `start`.
        """
        pending = [] if self._union is None and not start else [self.find(start)]
        while pending:
            found = pending.pop()
            yield found
            if stat.S_ISDIR(found.attributes.mode):
                pending += reversed(self.children(found))

    def find(self, path: Path, *, follow: bool = False) -> ImageFile:
        """Return what is at `path`; symbolic links on the way lead nowhere out of the image.

        Args:
            path: components below the image's root.
            follow: whether the last component is followed, too, if it is a link.

        Raises:
            FileNotFoundError, NotADirectoryError: there is nothing.
            OSError: ELOOP, the links have no end.
        """
        if self._union is None:
            raise _failure(errno.ENOENT, path)
        return link_walk.follow(
            self.root(),
            path,
            lambda parent, name: self._child(parent, name, path),
            self._link_target,
            follow_last=follow,
        )[-1]

    def _link_target(self, file: ImageFile) -> bytes | None:
        return self.read_link(file) if stat.S_ISLNK(file.attributes.mode) else None

    def read_link(self, file: ImageFile) -> bytes:
        """A symbolic link's target."""
        return self._opened.read_link(file.node)

    def xattrs(self, file: ImageFile) -> dict[bytes, bytes]:
        """All xattrs."""
        names = sorted(self._opened.list_xattrs(file.node))
        return {name: self._opened.get_xattr(file.node, name) for name in names}

    def content(self, file: ImageFile) -> Iterator[bytes]:
        """Yield a regular file's data, piece by piece."""
        offset = 0
        while piece := self._opened.read(file.node, offset, _CHUNK_BYTES):
            offset += len(piece)
            yield piece

    def read(self, file: ImageFile, offset: int, size: int) -> bytes:
        """Return a part of a regular file's data."""
        return self._opened.read(file.node, offset, size)

    def data_ranges(self, file: ImageFile) -> Iterator[tuple[int, int]]:
        """Yield where a regular file's data begins and ends; the rest is holes."""
        end = 0
        while end < file.attributes.size:
            try:
                start = self._opened.seek(file.node, end, os.SEEK_DATA)
            except OSError as error:
                if error.errno == errno.ENXIO:  # a hole up to the end
                    return
                raise
            end = self._opened.seek(file.node, start, os.SEEK_HOLE)
            yield start, end

    def pieces(self, file: ImageFile) -> Iterator[bytes | int]:
        """Yield a regular file's data, holes as their lengths: as much as its attributes say.

        What is missing is a hole, too: in a container a process may make it shorter meanwhile.
        """
        size, done = file.attributes.size, 0
        for start, end in self.data_ranges(file):
            if done < min(start, size):
                yield min(start, size) - done
                done = min(start, size)
            stop = min(end, size)
            while done < stop:
                piece = self.read(file, done, min(_CHUNK_BYTES, stop - done))
                if not piece:
                    break
                yield piece
                done += len(piece)
        if done < size:
            yield size - done

    def children(self, directory: ImageFile) -> list[ImageFile]:
        """Return what is in a directory, by name."""
        found = (self.look(directory, name) for name in sorted(self._opened.names(directory.node)))
        return [child for child in found if child is not None]

    def look(self, directory: ImageFile, name: bytes) -> ImageFile | None:
        """Return what a name of a directory shows, None if it shows nothing."""
        assert isinstance(directory.node, DirectoryNode)
        seen = self._opened.look(directory.node, name)
        if seen is None:
            return None
        sighting = find_lower(directory.node, name)
        assert sighting is not None  # nothing but layers can have shown it
        position = directory.node.lowers[sighting.at].position
        is_copied = seen[1].ino in self._copied
        layer = None if is_copied else self._ids[position]
        return ImageFile((*directory.path, name), *seen, layer)

    def copied_elsewhere(self) -> Iterator[ImageFile]:
        """Yield files that a container has changed, under whatever names.

        All of the image is looked at, where it has changed a file that has more names than it used.
        """
        if self._copied:
            yield from (file for file in self.walk() if file.attributes.ino in self._copied)

    @property
    def _opened(self) -> Union:
        assert self._union is not None  # who has a file has a union
        return self._union

    def root(self) -> ImageFile:
        """The root directory."""
        root = self._opened.root
        return ImageFile((), root, self._opened.attributes(root), self._ids[0])

    def _child(self, parent: ImageFile, name: bytes, asked: Path) -> ImageFile:
        if not isinstance(parent.node, DirectoryNode):
            raise _failure(errno.ENOTDIR, asked)
        found = self.look(parent, name)
        if found is None:
            raise _failure(errno.ENOENT, asked)
        return found


def shown(path: Path) -> bytes:
    """A path of an image as people write it."""
    return b"/" + b"/".join(path)


def components(text: bytes) -> Path:
    """The path that somebody wrote, with or without a slash in front; `..` stays."""
    return tuple(name for name in text.split(b"/") if name not in {b"", b"."})


def _failure(number: int, path: Path) -> OSError:
    return OSError(number, os.strerror(number), shown(path))
