"""Small images that are put into a store directly, whose layers pretend to have come from a tar."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from overlayfs_py.image.config import build_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of, digest_of_hex
from overlayfs_py.image.manifest import build_manifest
from overlayfs_py.image.media_types import OCI_CONFIG, OCI_LAYER_GZIP, Kind
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.packs.values import Metadata
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.store.layers import LayerFacts, LayerIngest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.records import LayerBlob
    from overlayfs_py.store.store import Store


def diff_id(name: str) -> Digest:
    """The diff ID that the layer `name` pretends to have."""
    return digest_of_hex(hashlib.sha256(name.encode()).hexdigest())


def add_layer(addition: Addition, name: str, blob: LayerBlob | None = None) -> None:
    """Add a layer with one file."""
    with addition.ingest_layer(diff_id(name)) as ingest:
        if isinstance(ingest, LayerIngest):
            addition.commit_layer(ingest, write_layer(ingest, name, blob))


def write_layer(ingest: LayerIngest, name: str, blob: LayerBlob | None = None) -> LayerFacts:
    """Write the pack of a layer with one file, `etc/NAME`."""
    data = f"{name}\n".encode() * 1000
    with ingest.path.open("xb", buffering=0) as out:
        writer = PackWriter(out)
        writer.add_file((b"etc", name.encode()), Metadata(), [data])
        summary = writer.finish()
    pack = digest_of_hex(summary.digest.hex())
    return LayerFacts(diff_id(name), 10240, len(data), pack, blob)


def add_image(
    store: Store,
    layer_names: Sequence[str],
    *references: str,
    comment: str = "",
    repositories: Sequence[str] = (),
) -> StoredImage:
    """Add an image of such layers."""
    with store.add() as addition:
        for name in layer_names:
            add_layer(addition, name)
        config = build_config(
            Platform("linux", "amd64"), [diff_id(name) for name in layer_names], comment=comment
        )
        blobs = [digest_of(name.encode()) for name in layer_names]
        manifest = build_manifest(
            Kind.OCI,
            Descriptor(OCI_CONFIG, config.image_id, len(config.raw)),
            [Descriptor(OCI_LAYER_GZIP, blob, 100) for blob in blobs],
        )
        addition.put_blob(config.raw)
        addition.put_blob(manifest.raw)
        return addition.add_image(
            manifest,
            references=[*map(parse_reference, references)],
            repositories=repositories,
        )
