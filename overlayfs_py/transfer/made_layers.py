"""Layers that are made here, and come from no archive or registry."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import write_tar
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.store.layer_writing import naming, new_file, write_layer
from overlayfs_py.store.records import Form
from overlayfs_py.transfer.pushing import pushed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer


def add_tar(addition: Addition, blocks: Iterable[bytes], form: Form = Form.PACK) -> StoredLayer:
    """Make a layer of a tar, compressed or not."""
    with addition.ingest_unknown_layer(form) as ingest:
        facts, _ = write_layer(ingest, blocks)
        return addition.commit_layer(ingest, facts)


def add_packed(
    addition: Addition,
    fill: Callable[[PackWriter], object],
    form: Form = Form.PACK,
) -> StoredLayer:
    """Make a layer of what `fill` puts into a pack.

    By way of a tar, which the layer keeps: what its diff ID is of must be made again later.
    """
    with addition.ingest_unknown_layer() as draft:
        with naming(draft.path), new_file(draft.path) as out:
            writer = PackWriter(out)
            fill(writer)
            writer.finish()
        with (
            Pack(os.fsencode(draft.path)) as pack,
            pushed(lambda write: write_tar(pack, write)) as blocks,
        ):
            return add_tar(addition, blocks, form)
