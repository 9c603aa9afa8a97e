"""Serve a filesystem that has no xattrs and says so, as many made with FUSE do."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.drivers import service
from overlayfs_py.union.core import Union
from tests.drivers.runner import main

if TYPE_CHECKING:
    from overlayfs_py.union.nodes import Node


class UnionWithoutXattrs(Union):
    def list_xattrs(self, node: Node) -> list[bytes]:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def lacks_xattr(self, node: Node, name: bytes) -> bool:
        return False

    def get_xattr(self, node: Node, name: bytes) -> bytes:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


if __name__ == "__main__":
    service.open_union = UnionWithoutXattrs
    main()
