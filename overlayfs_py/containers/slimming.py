"""An image of what was used of another one: the same paths, and nothing else.

To the paths that were used come the directories above them, and what their symbolic links lead to.
Where a directory was listed by a mount that tells attributes with names, nobody knows which of
them were looked at: all files of it are taken, but not what is in its directories.
"""

from __future__ import annotations

import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py import link_walk
from overlayfs_py.containers.image_files import components
from overlayfs_py.containers.packed_files import FilePacker, naming

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles, Path
    from overlayfs_py.drivers.uses import Use
    from overlayfs_py.packs.writer import PackWriter


def used_files(files: ImageFiles, uses: Iterable[Use]) -> Iterator[tuple[Use, ImageFile]]:
    """Yield what the image has of what was used; the rest was made in the container."""
    for use in uses:
        with suppress(OSError):
            found = files.find(components(use.path))
            if found.path == components(use.path):
                yield use, found


def pack_used(files: ImageFiles, uses: Iterable[Use], writer: PackWriter, *, exact: bool) -> None:
    """Add what was used to a pack.

    Raises:
        OSError: naming what cannot be read.
        BadEntry: naming what no pack can hold.
    """
    chosen = _Chosen(files)
    for use, file in used_files(files, uses):
        chosen.add(file)
        if "list" in use.kinds and not exact:
            for child in files.children(file):
                chosen.add(child)
    packer = FilePacker(files, writer)
    for file in chosen.in_order():
        with naming(file.path):
            packer.add(file, packer.metadata_of(file))


class _Chosen:
    """Files of an image with what they need."""

    def __init__(self, files: ImageFiles) -> None:
        self._files = files
        root = files.root()
        self._by_path: dict[Path, ImageFile] = {root.path: root}

    def in_order(self) -> list[ImageFile]:
        """All, a directory before what is in it."""
        return [self._by_path[path] for path in sorted(self._by_path)]

    def add(self, file: ImageFile) -> None:
        """Choose a file, the directories above it, and what it leads to."""
        if file.path in self._by_path:
            return
        for end in range(len(file.path)):
            if file.path[:end] not in self._by_path:
                self._by_path[file.path[:end]] = self._files.find(file.path[:end])
        self._by_path[file.path] = file
        if stat.S_ISLNK(file.attributes.mode):
            with suppress(OSError):  # it leads nowhere
                self._follow(file)

    def _follow(self, link: ImageFile) -> None:
        link_walk.follow(
            self._files.root(), link.path, self._passed, self._target, follow_last=True
        )

    def _passed(self, parent: ImageFile, name: bytes) -> ImageFile:
        found = None
        if stat.S_ISDIR(parent.attributes.mode):
            found = self._files.look(parent, name)
        if found is None:
            raise FileNotFoundError
        if found.path not in self._by_path:
            self._by_path[found.path] = found  # what is above it was passed before
        return found

    def _target(self, file: ImageFile) -> bytes | None:
        return self._files.read_link(file) if stat.S_ISLNK(file.attributes.mode) else None
