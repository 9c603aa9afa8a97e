"""Directories of which the kernel remembers an st_ctime from before a copy-up.

A copy is put into its directory, whose other times are put back, and the kernel has heard nothing
of that. It is told once nobody has asked for anything for a moment: it would ask for the
directory's attributes again at every step of a caller that changes all that is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.wire.protocol import ROOT_ID

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.union.core import Union
    from overlayfs_py.union.nodes import Node


class Outdated:
    """What the kernel is to be told of a union's directories, by node id."""

    def __init__(
        self,
        union: Union,
        tell: Callable[[int], None],
        begin: Callable[[], None] | None = None,
    ) -> None:
        """Have `tell` called for each; `begin` is called when there is a first one."""
        self._union = union
        self._tell = tell
        self._begin = begin
        self._nodes: set[int] = set()
        union.tell_unseen_changes(self._note)

    def __bool__(self) -> bool:
        return bool(self._nodes)

    def _note(self, node: Node) -> None:
        if not self._nodes and self._begin is not None:
            self._begin()
        self._nodes.add(ROOT_ID if node is self._union.root else node.ino)

    def tell(self) -> None:
        """Tell the kernel."""
        while self._nodes:
            self._tell(self._nodes.pop())
