"""The tar of a layer of the store, as it was."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import DigestMismatch, digest_of_hex
from overlayfs_py.packs.format import SectionId
from overlayfs_py.packs.pack import Pack
from overlayfs_py.store.records import Form
from overlayfs_py.tars.errors import BadSplit
from overlayfs_py.tars.rebuild import rebuild, recorded_digest
from overlayfs_py.transfer.failures import CannotSave

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.store.layers import StoredLayer

_STEP = 1 << 20


def read_layer_tar(layer: StoredLayer) -> Iterator[bytes | memoryview]:
    """Yield the tar that has the layer's diff ID, bit for bit.

    Raises:
        CannotSave: the layer has no tar any more.
        CorruptLayer, BadSplit, DigestMismatch: it is damaged; what was yielded is no layer.
    """
    if layer.record.form is Form.TREE:
        raise CannotSave(layer.diff_id, "kept as a directory, so it has no tar any more")
    with Pack(layer.path) as pack:
        recording = pack.index.section(SectionId.TARSPLIT)
        if recording is None:
            raise CannotSave(layer.diff_id, "its tar was not recorded")
        digest, size = recorded_digest(recording)
        if (got := digest_of_hex(digest.hex())) != layer.diff_id:
            raise DigestMismatch("layer", layer.diff_id, got)
        yield from rebuild(recording, _reading(pack), size)


def _reading(pack: Pack) -> Callable[[int, int, int], Iterator[bytes]]:
    def read(number: int, offset: int, length: int) -> Iterator[bytes]:
        inode = pack.index.inode(number)
        end = offset + length
        if not stat.S_ISREG(inode.mode) or end > inode.size:
            raise BadSplit(f"inode {number} has less data")
        reader = pack.reader(inode)
        for start in range(offset, end, _STEP):
            yield reader.read(start, min(_STEP, end - start))

    return read
