"""Where an entry of a tar belongs if a symbolic link of the same tar stands in its way.

Tars that were put together from parts have `lib -> usr/lib` and then `lib/x`. docker, podman and
umoci unpack inside of the layer's root, where the link leads to `usr/lib/x`, and so does this:
links are followed as in a chroot, by name only, and never leave the layer.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from overlayfs_py import link_walk
from overlayfs_py.packs.errors import BadEntry

if TYPE_CHECKING:
    from overlayfs_py.packs.values import Path
    from overlayfs_py.packs.writer import PackWriter


class TarPaths:
    """Knows the symbolic links that a pack being written has."""

    def __init__(self, writer: PackWriter) -> None:
        self._writer = writer
        self._links: dict[Path, bytes] = {}
        self._last: tuple[Path, Path] = ((), ())  # the directory asked for last, and where it is
        self._replaced = 0  # `writer.replaced` then

    def add_symlink(self, path: Path, target: bytes) -> None:
        """Take note of a link that was added."""
        self._links[path] = target
        self._last = ((), ())

    def resolve(self, path: Path) -> Path:
        """Return the place of `path`, whose last component is never followed.

        Raises:
            BadEntry: the links go round in circles.
        """
        if len(path) < 2 or not self._links:
            return path
        directory = path[:-1]
        if self._last[0] != directory or self._replaced != self._writer.replaced:
            self._last = (directory, self._follow(directory))
            self._replaced = self._writer.replaced
        return (*self._last[1], path[-1])

    def _follow(self, directory: Path) -> Path:
        root: Path = ()
        try:
            way = link_walk.follow(
                root,
                directory,
                lambda place, name: (*place, name),
                self._target,
                follow_last=True,
            )
        except OSError as error:  # ELOOP: nothing is read here
            raise BadEntry("too many symbolic links on the way to it") from error
        return way[-1]

    def _target(self, path: Path) -> bytes | None:
        target = self._links.get(path)
        # Something else may have taken its place since.
        if target is None or self._writer.kind_of(path) != stat.S_IFLNK:
            return None
        return target
