"""Serve a union with faults that only some files have, by their names."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.drivers import service
from overlayfs_py.union.core import Union
from tests.drivers.runner import main

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.values import Attributes


class FaultyUnion(Union):
    def read_link(self, node: Node) -> bytes:
        return b"x" * 8192 if node.name == b"answers-too-much" else super().read_link(node)

    def lacks_xattr(self, node: Node, name: bytes) -> bool:
        return False

    def get_xattr(self, node: Node, name: bytes) -> bytes:
        if name == b"user.enotsupp":
            raise OSError(524, "ENOTSUPP, which some filesystems of the kernel let out")
        return super().get_xattr(node, name)

    def look(self, parent: Node, name: bytes) -> tuple[Node, Attributes] | None:
        if name == b"unreadable":
            raise OSError(errno.EIO, os.strerror(errno.EIO), name)
        return super().look(parent, name)

    def tell(
        self, node: Node, names: Sequence[bytes], *, hold: bool
    ) -> Iterator[Attributes | None]:
        """A listing asks for each, as it does of what a layer cannot say at once."""
        return iter([None] * len(names))


if __name__ == "__main__":
    service.open_union = FaultyUnion
    main()
