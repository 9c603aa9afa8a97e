"""Where directories have been moved to, as the redirects in the trees above a layer tell.

Plan: a directory with a redirect shows what the trees below its own have elsewhere. Reading all
of them, once per tree, gives for a path in a layer the paths under which the union may show it.
"""

from __future__ import annotations

import stat
from itertools import islice
from typing import TYPE_CHECKING

from overlayfs_py.layers.values import Trail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.layers.interface import LayerDirectory

    Path = tuple[bytes, ...]

# Of each path. Guess, and far from what anybody's renames leave; layers made for the purpose show
# one file under more paths than could ever be looked at.
_MOST_PATHS = 256


class Moves:
    """The redirected directories of one tree."""

    def __init__(self, root: LayerDirectory) -> None:
        """Read the marks of every directory below `root`."""
        self._moved: dict[Path, list[Path]] = {}  # what the trees below call it -> its path here
        pending: list[tuple[LayerDirectory, Trail | None, Trail | None]] = [(root, None, None)]
        while pending:
            directory, above, above_below = pending.pop()
            for name, kind in directory.entries():
                if kind == stat.S_IFDIR:
                    child, here = directory.directory(name), Trail(above, name)
                    redirect = child.marks(with_opaque_file=False).redirect
                    below = _followed(above_below, name, redirect)
                    if redirect is not None:
                        self._moved.setdefault(below.path(), []).append(here.path())
                    pending.append((child, here, below))

    def applied_to(self, path: Path) -> Iterator[Path]:
        """Yield where a path of the trees below was moved to, by any directory on it."""
        for depth in range(1, len(path)):
            for moved in self._moved.get(path[:depth], ()):
                yield (*moved, *path[depth:])


def shown_at(path: Path, trees_above: Iterable[Moves]) -> list[Path]:
    """Return the paths under which a path of a layer may show; the trees are lowest first."""
    paths = [path]
    for moves in trees_above:
        moved = (moved for known in tuple(paths) for moved in moves.applied_to(known))
        paths += islice(moved, _MOST_PATHS - len(paths))
    return paths


def _followed(above: Trail | None, name: bytes, redirect: bytes | None) -> Trail:
    """Return what the trees below call a directory, from what they call the one above it."""
    if redirect is None:
        return Trail(above, name)
    if not redirect.startswith(b"/"):
        return Trail(above, redirect)
    first, *others = redirect[1:].split(b"/")
    trail = Trail(None, first)
    for other in others:
        trail = Trail(trail, other)
    return trail
