"""Opening the data of a file that was seen some time ago, in a layer that another may change."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostFile
from overlayfs_py.layers.reader import DescriptorReader

if TYPE_CHECKING:
    from overlayfs_py.layers.interface import Reader
    from overlayfs_py.union.nodes import FileNode


def open_data(node: FileNode) -> Reader:
    """Open a regular file's data; the caller closes it.

    Raises:
        OSError: ESTALE, the layer is another user's, who has put another file in its place: the
            kernel decides who may read it by the owner and mode of the one that was there.
    """
    lower = node.lower
    place = node.data if lower is None or node.below is not None else lower
    reader = place.open_reader()
    if not isinstance(lower, HostFile) or not lower.tree.is_others or node.below is not None:
        return reader
    if isinstance(reader, DescriptorReader):
        number = lower.tree.ino_of(os.fstat(reader.fd))
        if number != node.ino:
            reader.close()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), node.name)
    return reader
