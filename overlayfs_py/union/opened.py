"""Files of the upper that are open, each by its node: the host need not look for them again.

They share one bounded cache with what reads layers (`State.readers`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.layers.held import OpenFile
from overlayfs_py.layers.reader import DescriptorReader

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostTree
    from overlayfs_py.union.nodes import FileNode, Node
    from overlayfs_py.union.state import State


class WritableReader(DescriptorReader):
    """A descriptor that writes as well, and the file as it is reached by that."""

    __slots__ = ("file",)

    def __init__(self, tree: HostTree, fd: int) -> None:
        """Take over `fd`."""
        super().__init__(fd)
        self.file = OpenFile(tree, fd)


class OpenMetacopy:
    """A metacopy, open for its attributes: it has no data to read."""

    __slots__ = ("file",)

    def __init__(self, tree: HostTree, fd: int) -> None:
        """Take over `fd`."""
        self.file = OpenFile(tree, fd)

    def close(self) -> None:
        """Close the descriptor."""
        self.file.close()


def keep_open(state: State, node: FileNode, tree: HostTree, fd: int) -> None:
    """Hand over a descriptor for reading and writing: what is made is changed next."""
    kind = WritableReader if node.below is None else OpenMetacopy
    state.readers.put(node, kind(tree, fd))


def opened(state: State, node: Node) -> OpenFile | None:
    """The file of a node that is open in the upper, by its descriptor: use it at once."""
    known = state.readers.find(node)
    return known.file if isinstance(known, WritableReader | OpenMetacopy) else None
