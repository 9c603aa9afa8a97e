"""Bringing an image from the store to a registry.

Order: the layers, three at a time; the config; the manifest last, which a registry takes only when
it has all that the manifest names. An image that came from a registry goes with the manifest that
it came with, byte for byte. One of our own lists its layers uncompressed: it gets a manifest with
compressed ones, always the same for the same image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from msgspec import structs

from overlayfs_py.image.manifest import Manifest, build_manifest
from overlayfs_py.image.media_types import kind_of
from overlayfs_py.registry.uploads import put_manifest, upload_bytes
from overlayfs_py.transfer.failing import run_together
from overlayfs_py.transfer.layer_upload import LayerUpload, Outgoing, Placed
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.watch import Watch

PARALLEL = 3


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How to push."""

    recompress: bool = False  # layers whose blobs are nowhere, under other digests
    parallel: int = PARALLEL


async def push(
    store: Store,
    client: RegistryClient,
    image: StoredImage,
    reference: Reference,
    options: PushOptions,
    watch: Watch,
) -> Manifest:
    """Push an image under a reference with a tag; returns the manifest that is there then.

    Raises:
        CannotPush: the blob that the manifest wants for a layer is nowhere to be had.
        RegistryError: the registry does not take it.
    """
    assert reference.tag is not None, "a registry needs a tag"
    target = client.push_target(reference)
    watch.say(f"The push refers to repository [{reference.repository}]")
    layers = _outgoing(image, options)
    for each in layers.values():
        watch.layer(each.ident, LayerState.PREPARING)

    def upload(layer: Outgoing) -> LayerUpload:
        return LayerUpload(layer, target, client, store.open_blob, watch)

    placed = await _place_layers(layers, upload, options.parallel)
    manifest = _manifest_of(image, placed)
    if await target.find_blob(image.image_id) is None:
        await upload_bytes(target, image.image_id, image.config.raw)
    await put_manifest(target, reference.tag, manifest.raw, manifest.media_type)
    await trio.to_thread.run_sync(
        _note, store, image, placed, reference.with_digest(manifest.digest)
    )
    watch.say(f"{reference.tag}: digest: {manifest.digest} size: {len(manifest.raw)}")
    return manifest


def _outgoing(image: StoredImage, options: PushOptions) -> dict[Digest, Outgoing]:
    """The layers of an image, each once, by their diff IDs."""
    may_change = options.recompress or not image.entry.repositories
    return {
        layer.diff_id: Outgoing(layer, blob, image.entry.repositories, may_change)
        for layer, blob in zip(image.layers, image.manifest.layers, strict=True)
    }


async def _place_layers(
    layers: Mapping[Digest, Outgoing], upload: Callable[[Outgoing], LayerUpload], parallel: int
) -> dict[Digest, Placed]:
    """Have all layers at the target."""
    placed: dict[Digest, Placed] = {}
    queue = iter(layers.items())

    async def work() -> None:
        for diff_id, outgoing in queue:
            placed[diff_id] = await upload(outgoing).place()

    await run_together([work] * parallel)
    return placed


def _manifest_of(image: StoredImage, placed: dict[Digest, Placed]) -> Manifest:
    manifest = image.manifest
    blobs = [placed[layer.diff_id].blob for layer in image.layers]
    pairs = zip(blobs, manifest.layers, strict=True)
    if all(blob.digest == listed.digest for blob, listed in pairs):
        return manifest
    kind = kind_of(manifest.media_type)
    return build_manifest(kind, manifest.config, blobs, annotations=manifest.annotations)


def _note(
    store: Store, image: StoredImage, placed: dict[Digest, Placed], pushed: Reference
) -> None:
    """Remember where the image is now, and each blob: a later push mounts it from there."""
    repository = pushed.repository
    with store.add() as addition:
        addition.note_pushed(image.manifest.digest, pushed.canonical)
        for diff_id, layer in placed.items():
            if layer.known is not None:
                sources = tuple(dict.fromkeys((repository, *layer.known.sources)))
                addition.note_blob(diff_id, structs.replace(layer.known, sources=sources))
