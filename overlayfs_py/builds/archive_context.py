"""A tar as a context, compressed or not, from a file or a pipe: it becomes a layer, never a tree.

So its entries are never made on the host, and nothing in it can lead anywhere. The layer is one of
the store, kept no longer than the build's addition is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.builds.failures import BadContext
from overlayfs_py.builds.layers_context import LayersContext
from overlayfs_py.tars.engines import Compression, sniff
from overlayfs_py.tars.errors import BadCompression, BadTar
from overlayfs_py.tars.header import BLOCK, END, parse_header
from overlayfs_py.transfer.made_layers import add_tar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.store.additions import Addition

HEAD_BYTES = BLOCK  # what `is_archive_head` wants to see, or all


def is_archive_head(head: bytes) -> bool:
    """Whether what begins so is an archive; what is none may be a Dockerfile."""
    if sniff(head) is not Compression.PLAIN:
        return True
    if len(head) < BLOCK:
        return False
    if head[:BLOCK] == END:
        return True
    try:
        parse_header(head[:BLOCK])
    except ValueError:
        return False
    return True


def archive_context(addition: Addition, blocks: Iterable[bytes], name: str) -> LayersContext:
    """Return what a tar holds as a context; all of it is root's, as of a directory.

    `blocks` are iterated in a thread of their own.

    Raises:
        BadContext: it is no tar, or a damaged one.
        OSError: from reading, or from writing the layer.
    """
    try:
        layer = add_tar(addition, blocks)
    except (BadTar, BadCompression) as error:
        raise BadContext(name, error.strerror or "no archive") from error
    return LayersContext((layer,), name, owned=False)
