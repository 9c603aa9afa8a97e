"""A layer of the store, and where it is."""

from __future__ import annotations

import msgspec

from overlayfs_py.image.digest import Digest  # noqa: TC001 - msgspec looks it up
from overlayfs_py.store.records import LayerRecord  # noqa: TC001 - msgspec looks it up


class StoredLayer(msgspec.Struct, frozen=True):
    """A layer and where it is."""

    diff_id: Digest
    record: LayerRecord
    path: bytes  # the pack or the directory: what a mount takes as a lower layer
    is_whole: bool = True  # False: a pack of which chunks are still to come
