"""A root filesystem, from a tar or a directory, as an image of one layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.image.config import HistoryEntry, RunConfig, build_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.manifest import build_manifest
from overlayfs_py.image.media_types import OCI_CONFIG, OCI_LAYER, Kind
from overlayfs_py.image.reference import require_tag_name
from overlayfs_py.image.times import rfc3339
from overlayfs_py.packs.from_directory import pack_directory
from overlayfs_py.store.records import Form
from overlayfs_py.tars.errors import BadCompression, BadTar
from overlayfs_py.transfer.made_layers import add_packed, add_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from overlayfs_py.image.platform import Platform
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.packs.writer import PackWriter
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the image says of itself."""

    platform: Platform
    created_ns: int
    source: str  # for the history: `Imported from rootfs.tar`
    message: str = ""
    run: RunConfig = field(default_factory=RunConfig)
    form: Form = Form.PACK  # how to keep the layer


def import_tar(
    store: Store, blocks: Iterable[bytes], options: ImportOptions, references: Sequence[Reference]
) -> StoredImage:
    """Make an image of a tar, compressed or not, read once.

    Raises:
        BadTar, BadCompression: it is none, or damaged.
    """
    try:
        return _import(
            store, lambda addition: add_tar(addition, blocks, options.form), options, references
        )
    except (BadTar, BadCompression) as error:
        error.filename = options.source
        raise


def import_directory(
    store: Store, source: bytes, options: ImportOptions, references: Sequence[Reference]
) -> StoredImage:
    """Make an image of a directory, which stays as it is.

    Raises:
        OSError: naming what cannot be read.
        BadEntry: naming what no layer can hold.
    """
    return import_packed(store, lambda out: pack_directory(source, out), options, references)


def import_packed(
    store: Store,
    fill: Callable[[PackWriter], object],
    options: ImportOptions,
    references: Sequence[Reference],
) -> StoredImage:
    """Make an image of what `fill` puts into a pack.

    Raises:
        OSError: what `fill` raises.
    """
    return _import(
        store, lambda addition: add_packed(addition, fill, options.form), options, references
    )


def _import(
    store: Store,
    add_layer: Callable[[Addition], StoredLayer],
    options: ImportOptions,
    references: Sequence[Reference],
) -> StoredImage:
    for reference in references:
        require_tag_name(reference)
    with store.add() as addition:
        layer = add_layer(addition)
        created = rfc3339(options.created_ns)
        step = HistoryEntry(created, comment=options.message or f"Imported from {options.source}")
        config = build_config(
            options.platform, [layer.diff_id], history=[step], run=options.run, created=created
        )
        manifest = build_manifest(
            Kind.OCI,
            Descriptor(OCI_CONFIG, config.image_id, len(config.raw)),
            [Descriptor(OCI_LAYER, layer.diff_id, layer.record.tar_size)],
        )
        addition.put_blob(config.raw)
        addition.put_blob(manifest.raw)
        return addition.add_image(manifest, references=references)
