"""Nodes: what the users of a union refer to, one per file whatever names it has.

A node knows where it is in the union (a directory node and a name) and where its bytes are (a
directory: its upper and lower directories; anything else: one object of one tree). Copy-up
changes the second and never the first, so `ino` and every reference stay.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostDirectory, HostFile
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from overlayfs_py.layers.interface import LayerDirectory, LayerFile
    from overlayfs_py.union.index import IndexEntry
    from overlayfs_py.union.lowers import LowerIndex, LowerSearch
    from overlayfs_py.union.nameless import Removed
    from overlayfs_py.union.volume_nodes import VolumeFile


class Backing(NamedTuple):
    """A directory of the layer at `position` in the stack, 0 on top."""

    position: int
    directory: LayerDirectory
    ino: int = 0  # the directory's number, where its parent told it


class DataBelow(NamedTuple):
    """Where the data of a metacopy is: a file that has attributes only."""

    file: LayerFile
    redirect: bytes | None  # what the metacopy's redirect xattr says
    blocks: int  # of 512 bytes, of that file


class Node:
    """One object of the union."""

    __slots__ = (
        *("aliases", "cacheable", "holds", "ino", "name", "parent", "pins", "protection"),
        "type",
    )

    def __init__(self, ino: int, file_type: int, parent: DirectoryNode | None, name: bytes) -> None:
        self.ino = ino
        self.type = file_type  # S_IFDIR, S_IFREG, ...
        self.parent = parent  # None: the root, or an object without a name
        self.name = name
        self.holds = 0  # references that users of the union have
        self.pins = 0  # held nodes below this one
        # Further names, of files with several links; the kernel may drop `name` first.
        self.aliases: dict[tuple[DirectoryNode, bytes], None] | None = None
        # False where others change the object behind the union's back: inside a volume.
        self.cacheable = True
        self.protection: int | None = None  # inode flags, None: not read yet, see `protection`

    @property
    def spread(self) -> int:
        """How many directories of layers it is made of: what takes time to find."""
        return 0

    @property
    def mode(self) -> int:
        """The type bits, for stat.S_ISDIR and its like."""
        return self.type

    @property
    def is_directory(self) -> bool:
        """Whether the node is a directory."""
        return self.type == stat.S_IFDIR

    def names(self) -> list[tuple[DirectoryNode, bytes]]:
        """Every name the node is known by."""
        first = [] if self.parent is None else [(self.parent, self.name)]
        return [*first, *self.aliases] if self.aliases else first

    def has_name(self, parent: DirectoryNode, name: bytes) -> bool:
        """Whether the node is known by a name."""
        if self.parent is parent and self.name == name:
            return True
        return bool(self.aliases) and (parent, name) in (self.aliases or ())

    def has_no_other_name(self, parent: DirectoryNode, name: bytes) -> bool:
        """Whether a name is all that the node is known by."""
        return self.parent is parent and self.name == name and not self.aliases

    def add_name(self, parent: DirectoryNode, name: bytes) -> None:
        """Remember a further name; a node that had none lives under it from now on."""
        if self.parent is None:
            self.parent, self.name = parent, name
        elif self.aliases is None:
            self.aliases = {(parent, name): None}
        else:
            self.aliases[parent, name] = None

    def lose_name(self, parent: DirectoryNode, name: bytes) -> None:
        """Forget a name, taking another one for the first where there is one."""
        if self.aliases and (parent, name) in self.aliases:
            del self.aliases[parent, name]
        elif self.aliases:
            # The last: to look for the first takes longer the more have been removed before it.
            (self.parent, self.name), _ = self.aliases.popitem()
        else:
            self.parent, self.name = None, name


class DirectoryNode(Node):
    """A directory: up to one writable directory and any number of layers' below it, merged."""

    __slots__ = (
        "attached",
        "default_acl",
        "impure",
        "lower_index",
        "lowers",
        "redirect",
        "removed",
        "upper",
    )

    def __init__(
        self,
        ino: int,
        parent: DirectoryNode | None,
        name: bytes,
        upper: HostDirectory | None,
        lowers: tuple[Backing, ...],
    ) -> None:
        super().__init__(ino, stat.S_IFDIR, parent, name)
        self.upper = upper
        self.lowers = lowers
        self.lower_index: LowerIndex | LowerSearch | None = (
            None  # built when first needed, never changes
        )
        self.redirect: bytes | None = None  # what the upper's redirect xattr says
        self.attached: dict[bytes, DirectoryNode] = {}  # volumes' roots, by name
        self.impure = False  # whether a copy may be in the upper's, which tells its origin
        self.removed = False
        self.default_acl: bytes | None = None  # None: not read yet; b"": there is none

    @property
    def top(self) -> LayerDirectory:
        """The directory that shows its attributes."""
        return self.lowers[0].directory if self.upper is None else self.upper

    @property
    def spread(self) -> int:
        return len(self.lowers)

    @property
    def is_merged(self) -> bool:
        """Whether a writable directory lies over layers."""
        return self.upper is not None and bool(self.lowers)

    def require_upper(self) -> HostDirectory:
        """The writable directory, which copy-up has made."""
        assert self.upper is not None
        return self.upper


class FileNode(Node):
    """Anything but a directory: in a layer (`lower`), writable, or held without a name.

    Of `mode` the type alone counts.
    """

    __slots__ = ("below", "held", "index", "is_copy", "lower", "own")

    def __init__(
        self,
        ino: int,
        mode: int,
        parent: DirectoryNode,
        name: bytes,
        *,
        lower: LayerFile | None = None,
        below: DataBelow | None = None,
        own: int = 0,
        index: IndexEntry | None = None,
        is_copy: bool = False,
    ) -> None:
        super().__init__(ino, stat.S_IFMT(mode), parent, name)
        self.lower = lower
        self.own = own  # the number of its inode in the upper, whatever it is known by
        self.index = index  # of a copy that stands for several names of a layer's file
        self.is_copy = is_copy  # whether its origin is written down
        self.below = below  # None: its data is where its inode is
        self.held: Removed | VolumeFile | None = None

    @property
    def place(self) -> LayerFile:
        """Where its inode is."""
        return self.lower or self.writable

    @property
    def data(self) -> LayerFile:
        """Where its data is."""
        return self.place if self.below is None else self.below.file

    @property
    def writable(self) -> HostFile:
        """Its place in the writable tree; only where `lower` is None."""
        if self.index is not None:
            return self.index
        if self.held is not None:
            return self.held
        if self.parent is None:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self.name)
        return HostFile(self.parent.require_upper(), self.name)
