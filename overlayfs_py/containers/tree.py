"""A directory and all below it, by paths of which no component is followed if it is a link."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from overlayfs_py.layers.descriptors import DescriptorCache

if TYPE_CHECKING:
    from overlayfs_py.tars.paths import Path

DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_DIRECTORIES = 64


class Tree:
    """Open directories of a tree that other processes may change meanwhile."""

    def __init__(self, root_fd: int) -> None:
        """Look below a directory; its descriptor stays the caller's."""
        self._root_fd = root_fd
        self._open: DescriptorCache[int] = DescriptorCache(_OPEN_DIRECTORIES, os.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.clear()

    def fd(self, path: Path) -> int:
        """A directory's descriptor, to be used at once.

        Raises:
            OSError: it is not there, or a component is no directory.
        """
        at = len(path)
        fd: int | None = None
        while at and (fd := self._open.find(path[:at])) is None:
            at -= 1
        fd = self._root_fd if fd is None else fd
        for end in range(at + 1, len(path) + 1):
            fd = os.open(path[end - 1], DIRECTORY, dir_fd=fd)
            self._open.put(path[:end], fd)
        return fd


def place_of(fd: int, name: bytes) -> bytes:
    """A path for calls that take no descriptor; `name` itself must not be followed."""
    return b"/proc/self/fd/%d/%s" % (fd, name)
