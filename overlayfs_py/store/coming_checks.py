"""Reading what is here of a layer that is coming, to see whether it is what it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.errors import CorruptLayer
from overlayfs_py.image.digest import digest_of_hex
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import is_exact, recorded_sha256
from overlayfs_py.packs.verification import verify
from overlayfs_py.store import records
from overlayfs_py.store.coming import find, source
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.places import SOURCE

if TYPE_CHECKING:
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.stored_layer import StoredLayer


def fault(places: Places, diff_id: Digest) -> str | None:
    """What is wrong with what is here of a layer; None if nothing is, or if it is none."""
    try:
        layer, told = find(places, diff_id), source(places, diff_id)
        if layer is None:
            return None
        if told is None:
            return f"its {SOURCE} is missing"
        changed = records.fault(places.coming_layer(diff_id) / SOURCE)
        if changed is not None:
            return changed
        with Pack(layer.path) as pack:
            if f"sha256:{pack.digest.hex()}" != told.pack:
                return "it is another pack than was begun"
            damages = (error for _, error in pack.index.load_all() if error is not None)
            damage = next(damages, None)
            return None if damage is None else str(damage.strerror)
    except CorruptLayer as error:
        return error.strerror
    except CorruptStore as error:
        return error.why
    except FileNotFoundError:
        return None  # it is whole by now, or has gone


def fault_of_whole(layer: StoredLayer) -> str | None:
    """What is wrong with a layer all of whose chunks are here; None if it is the layer.

    Raises:
        NotArrived: a chunk was not here after all, as after a crash, and does not come.
    """
    try:
        with Pack(layer.path) as pack:
            damage = next(verify(pack), None)
            if damage is not None:
                return damage.why
            if not is_exact(pack):
                return "its tar was not recorded"
            found = digest_of_hex(recorded_sha256(pack).hex())
            return None if found == layer.diff_id else f"its tar has the diff ID {found}"
    except CorruptLayer as error:
        return str(error.strerror)
