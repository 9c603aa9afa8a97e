"""Reading all of a blob or a layer, to see whether it is what was written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.errors import CorruptLayer
from overlayfs_py.image.digest import digest_of_hex
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import is_exact, origin, recorded_sha256
from overlayfs_py.packs.verification import verify
from overlayfs_py.store import blobs, layers, records
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.records import Form

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.stored_layer import StoredLayer


def fault_of_blob(path: Path) -> str | None:
    """What is wrong with the blob at `path`, None if nothing is.

    Raises:
        FileNotFoundError: it is gone.
    """
    if path.is_symlink() or not path.is_file():
        os.lstat(path)
        return "not a regular file"
    try:
        got = blobs.digest_of_file(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return None if got == digest_of_hex(path.name) else f"its bytes have the digest {got}"


def fault_of_layer(places: Places, diff_id: Digest, *, deep: bool = False) -> str | None:
    """What is wrong with a layer, None if nothing is, or if it is none.

    With `deep` its tar is made again, and has to have the diff ID.
    """
    try:
        layer = layers.find(places, diff_id)
        if layer is None:
            return None
        changed = records.fault(places.layer_record(diff_id))
        if changed is not None:
            return changed
        if layer.record.form is Form.TREE:
            return None if os.path.isdir(layer.path) else "its directory is missing"
        return _fault_of_pack(layer, deep=deep)
    except CorruptLayer as error:
        return error.strerror
    except CorruptStore as error:
        return error.why
    except FileNotFoundError:
        return "its pack is missing" if places.layer_record(diff_id).exists() else None
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _fault_of_pack(layer: StoredLayer, *, deep: bool) -> str | None:
    with Pack(layer.path) as pack:
        written = layer.record.pack
        if written and f"sha256:{pack.digest.hex()}" != written:
            return "it is another pack than was written"
        told = origin(pack)
        if told is not None and told[1] != layer.record.tar_size:
            return f"its record says that its tar has {layer.record.tar_size} bytes, not {told[1]}"
        damage = next(verify(pack, with_tar=deep), None)
        if damage is not None:
            return damage.why
        if is_exact(pack):
            found = digest_of_hex(recorded_sha256(pack).hex())
            if found != layer.diff_id:
                return f"its tar has the diff ID {found}"
    return None
