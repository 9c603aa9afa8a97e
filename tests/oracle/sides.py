"""One of the two that are compared: who it is, and its own copy of the layers, mounted."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.oracle.layers import Dialect
from tests.oracle.operations import Place
from tests.support.snapshot import Snapshot, snapshot

if TYPE_CHECKING:
    from tests.oracle.trees import Mounter, Trees


@dataclass(frozen=True)
class Party:
    """One of the two that are compared."""

    name: str
    mounter: Mounter
    dialect: Dialect = Dialect.KERNEL
    # Whether layers and workdir must be as before, and d_ino must be st_ino. The kernel sets the
    # atime of lower symlinks, keeps whiteouts and its index in the workdir, and lists hard links
    # that it holds together by its index with the inode numbers of the upper.
    tidy: bool = False
    # For an upper that was written over another copy of the layers, where that takes more.
    elsewhere: Mounter | None = None


class Side:
    """A party at work on its own copy of the layers."""

    def __init__(self, party: Party, trees: Trees) -> None:
        self.party = party
        self.trees = trees
        self.place = Place(os.fsencode(trees.root))
        self._mount = ExitStack()

    def mount(self) -> None:
        self._mount.enter_context(self.party.mounter(self.trees))

    def unmount(self) -> None:
        self.place.close_all()
        self._mount.close()

    def view(self) -> Snapshot:
        """The whole mount with nothing left out: what is private to overlays must not show."""
        return snapshot(self.trees.root, mtime=True, private=(), check_inodes=self.party.tidy)
