"""The tar of a layer of the store, as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.digest import DigestMismatch, digest_of_hex
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import is_exact, recorded_sha256, recorded_tar
from overlayfs_py.store.records import Form
from overlayfs_py.transfer.failures import CannotSave

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.store.stored_layer import StoredLayer


def read_layer_tar(layer: StoredLayer) -> Iterator[bytes | memoryview]:
    """Yield the tar that has the layer's diff ID, bit for bit.

    Raises:
        CannotSave: the layer has no tar any more.
        CorruptLayer, DigestMismatch: it is damaged; what was yielded is no layer.
    """
    if layer.record.form is Form.TREE:
        raise CannotSave(layer.diff_id, "kept as a directory, so it has no tar any more")
    with Pack(layer.path) as pack:
        if not is_exact(pack):
            raise CannotSave(layer.diff_id, "its tar was not recorded")
        if (got := digest_of_hex(recorded_sha256(pack).hex())) != layer.diff_id:
            raise DigestMismatch("layer", layer.diff_id, got)
        yield from recorded_tar(pack)
