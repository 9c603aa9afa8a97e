"""Serve a union with bugs in it: `user.bug` as the name of an xattr hits one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.drivers import service
from overlayfs_py.union.core import Union
from tests.drivers.runner import main

if TYPE_CHECKING:
    from overlayfs_py.union.nodes import Node


class FaultyUnion(Union):
    def lacks_xattr(self, node: Node, name: bytes) -> bool:
        return False

    def get_xattr(self, node: Node, name: bytes) -> bytes:
        if name == b"user.bug":
            raise ZeroDivisionError("planted")
        return super().get_xattr(node, name)

    def release(self, ino: int, count: int) -> None:
        super().release(ino, count)
        raise ZeroDivisionError("planted in FORGET")


if __name__ == "__main__":
    service.open_union = FaultyUnion
    main()
