"""The names of a directory: all at once, or in steps between which others are answered.

A step ends before a `yield`. What it has read of the layers stays true; of what is made, removed
and copied up between two steps a listing may show or leave out either, as readdir(3) may. A name
that is there all the time is shown once: the upper's listing shows it, or the layers' does, which
leaves out what the upper's has shown.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.values import WHITEOUT_TYPE
from overlayfs_py.union.lowers import naming_lower
from overlayfs_py.union.steps import batches, finished

if TYPE_CHECKING:
    from overlayfs_py.union.nodes import DirectoryNode
    from overlayfs_py.union.steps import Steps


def names(node: DirectoryNode) -> list[bytes]:
    """Every name of a directory, each once, without "." and "..".

    The writable directory's names come first, then those of the layers, topmost first.
    """
    if node.upper is None and len(node.lowers) == 1 and not node.removed and not node.attached:
        # As nearly always in a first walk: without steps, two thirds of the calls for each.
        return [name for name, kind in node.lowers[0].directory.entries() if kind != WHITEOUT_TYPE]
    return list(finished(naming(node)))


def naming(node: DirectoryNode, *, apart: bool = False) -> Steps[dict[bytes, None]]:
    """Return what `names` does, as keys; with `apart` others may list it between two steps."""
    shown: dict[bytes, None] = {}
    deleted: set[bytes] = set()
    if node.removed:
        return shown
    if node.upper is not None:
        for batch in batches(node.upper.entries(apart=apart)):
            for name, kind in batch:
                if kind == WHITEOUT_TYPE:
                    deleted.add(name)
                else:
                    shown[name] = None
            yield
    below = yield from naming_lower(node, apart=apart)
    for some in batches(below):
        for name in some:
            if name not in deleted:
                shown[name] = None
        yield
    shown.update(dict.fromkeys(node.attached))
    return shown


def require_empty(node: DirectoryNode) -> None:
    """Refuse a directory that shows anything."""
    finished(requiring_empty(node))


def requiring_empty(node: DirectoryNode, *, apart: bool = False) -> Steps[None]:
    """Do that in steps, no more than it takes to find a name."""
    deleted: set[bytes] = set()
    if node.attached:
        _refuse(node)
    if node.upper is not None:
        for batch in batches(node.upper.entries(apart=apart)):
            for name, kind in batch:
                if kind != WHITEOUT_TYPE:
                    _refuse(node)
                deleted.add(name)
            yield
    below = yield from naming_lower(node, apart=apart)
    for some in batches(below):
        if not deleted.issuperset(some):
            _refuse(node)
        yield


def _refuse(node: DirectoryNode) -> None:
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), node.name)
