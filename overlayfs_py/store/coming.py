"""Layers of which chunks are still to come: an index that is here, and data as it arrives.

Each is a directory `coming/HEX`, called by its diff ID. Nobody has seen its whole tar yet, so only
images that were pulled so refer to it; whoever wants the layer for another image looks into
`layers/` alone. When all chunks are here and their tar has the diff ID, the pack gets a place
there.
"""

from __future__ import annotations

import errno
import logging
import os
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.image.digest import Digest, digest_of_hex
from overlayfs_py.store import durable, records
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.places import HERE, PACK, RECORD, SOURCE
from overlayfs_py.store.records import ComingSource, Form, LayerRecord
from overlayfs_py.store.stored_layer import StoredLayer

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.layers import LayerFacts
    from overlayfs_py.store.places import Places

_SECTOR = 512
_log = logging.getLogger(__name__)


def all_ids(places: Places) -> list[Digest]:
    """The diff IDs of all layers that are coming."""
    try:
        names = sorted(path.name for path in places.coming.iterdir())
    except FileNotFoundError:  # a store in which none ever was
        return []
    return [digest_of_hex(name) for name in names if records.is_hex(name)]


def find(places: Places, diff_id: Digest) -> StoredLayer | None:
    """Return a layer that is coming, None if it is not there.

    Raises:
        CorruptStore: its record is none, or is another layer's.
    """
    directory = places.coming_layer(diff_id)
    record = records.read(directory / RECORD, LayerRecord)
    if record is None:
        return None
    if record.diff_id != diff_id:
        raise CorruptStore(str(directory / RECORD), f"the record of {record.diff_id}")
    try:
        stored = os.stat(directory / PACK).st_blocks * _SECTOR
    except FileNotFoundError:
        raise CorruptStore(str(directory), "its pack is missing") from None
    record = structs.replace(record, stored_size=stored)
    return StoredLayer(diff_id, record, os.fsencode(directory / PACK), is_whole=False)


def source(places: Places, diff_id: Digest) -> ComingSource | None:
    """Where the chunks of a layer come from; None if it is not there."""
    return records.read(places.coming_layer(diff_id) / SOURCE, ComingSource)


def all_sources(places: Places) -> list[tuple[Path, ComingSource]]:
    """The directory of each layer that is coming, and where its chunks come from."""
    found = []
    for diff_id in all_ids(places):
        try:
            told = source(places, diff_id)
            is_layer = find(places, diff_id) is not None
        except CorruptStore as error:
            _log.warning("%s (see `store fsck`)", error)
            continue
        if told is not None and is_layer:
            found.append((places.coming_layer(diff_id), told))
    return found


def write_records(directory: Path, facts: LayerFacts, source: ComingSource) -> None:
    """Write what the store knows of a layer into the directory that is made ready for it."""
    record = LayerRecord(
        diff_id=facts.diff_id,
        form=Form.PACK,
        tar_size=facts.tar_size,
        files_size=facts.files_size,
        stored_size=0,
        blobs=() if facts.blob is None else (facts.blob,),
        pack=facts.pack,
    )
    durable.write_file(directory / SOURCE, records.encode(source), directory)
    durable.write_file(directory / RECORD, records.encode(record), directory)
    for name in (PACK, HERE):
        durable.sync_file(directory / name)
    durable.sync_directory(directory)


def place(places: Places, directory: Path, diff_id: Digest) -> None:
    """Put a directory that was made ready into its place, unless one is there.

    The store's lock must be held.
    """
    if not places.coming.exists():
        places.coming.mkdir(mode=0o700, exist_ok=True)
        durable.sync_directory(places.root)
    target = places.coming_layer(diff_id)
    try:
        os.rename(directory, target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        if (target / RECORD).exists():
            return  # another process was first
        durable.remove(target)
        os.rename(directory, target)
    durable.sync_directory(places.coming)
