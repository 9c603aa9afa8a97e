"""Having all of some layers here that were pulled without their data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.errors import CorruptLayer
from overlayfs_py.image.digest import hex_of
from overlayfs_py.packs.pack import Pack
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.transfer.watch import Watch


def complete(store: Store, layers: Iterable[StoredLayer], watch: Watch) -> None:
    """Wait until layers that are coming are whole; for whoever keeps them from going.

    Raises:
        NotArrived: some of one does not come.
        CorruptLayer: one is not what its image names.
    """
    for layer in layers:
        if layer.is_whole:
            continue
        _bring_all(layer, watch)
        fault = store.finish_coming(layer.diff_id)
        if fault is not None:
            raise CorruptLayer(layer.diff_id.encode(), fault)
        watch.layer(_ident(layer), LayerState.PULLED)


def _bring_all(layer: StoredLayer, watch: Watch) -> None:
    with Pack(layer.path) as pack:
        chunks = sorted(range(pack.index.chunks), key=lambda number: pack.index.chunk(number)[0])
        total = pack.footer.index_offset
        for number in chunks:
            pack.chunks.bring(number)
            offset, stored, _, _ = pack.index.chunk(number)
            watch.progress(_ident(layer), LayerState.DOWNLOADING, offset + stored, total)


def _ident(layer: StoredLayer) -> str:
    return hex_of(layer.diff_id)[:12]
