"""Bringing an image from a registry into the store.

Order: the manifest, by way of an index; the config; the layers that are not here, three at a time;
the image's entry and its name last. Whoever is killed leaves layers and parts of downloads, and
nothing that names an image which is not whole.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from overlayfs_py.image.config import parse_config
from overlayfs_py.image.documents import LARGEST_CONFIG
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.manifest import Index, Manifest, parse_manifest
from overlayfs_py.image.media_types import is_config, is_layer
from overlayfs_py.image.platform import choose
from overlayfs_py.image.reference import require_tag_name
from overlayfs_py.registry.errors import Denied, NotThere, RegistryError, Unavailable
from overlayfs_py.store.failures import NotInStore
from overlayfs_py.transfer.failing import run_together
from overlayfs_py.transfer.layer_download import Keeping, WantedLayer, fetch_layer
from overlayfs_py.transfer.lazy_pull import Packs
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.image.config import ImageConfig
    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.lazy_pull import Laziness
    from overlayfs_py.transfer.watch import Watch

log = logging.getLogger(__name__)

PARALLEL = 3  # docker's number; more do not help a fast link, and a slow registry minds them
_DEEPEST_INDEX = 3  # an index may list an index (OCI image-spec image-index.md)


@dataclass(frozen=True, slots=True)
class PullOptions:
    """How to pull."""

    platform: Platform
    keeping: Keeping = field(default_factory=Keeping)
    parallel: int = PARALLEL
    lazy: Laziness | None = None  # None: layers come whole


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was pulled."""

    image: StoredImage
    reference: Reference  # under which it was pulled
    digest: Digest  # what the reference names: the index, or the manifest
    is_new: bool  # False: the store had it under this name already


@dataclass(frozen=True, slots=True)
class _Found:
    """An image in a registry."""

    manifest: Manifest
    index: Index | None  # the one that the reference names
    sources: Sequence[Repository]  # the first one has it

    @property
    def digest(self) -> Digest:
        return self.manifest.digest if self.index is None else self.index.digest


async def pull(
    store: Store,
    client: RegistryClient,
    reference: Reference,
    options: PullOptions,
    watch: Watch,
) -> Pulled:
    """Pull the image that a reference, with a tag or digest, names in its registry.

    Raises:
        RegistryError: the registry does not give it.
        DigestMismatch, BadDocument, BadTar: what it gives is not what it says.
        NoSuchPlatform: it has no image for this platform.
    """
    if reference.digest is None:
        require_tag_name(reference)
    found = await _find(client, reference, options.platform)
    watch.say(f"{reference.digest or reference.tag}: Pulling from {reference.path}")
    addition = await trio.to_thread.run_sync(store.add)
    try:
        config = await _fetch_config(found, addition)
        await _fetch_layers(found, config, reference, options, addition, watch)
        known = _known(store, reference)
        is_lazy = options.lazy is not None
        image = await trio.to_thread.run_sync(_add_image, addition, found, reference, not is_lazy)
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(addition.close)
    return Pulled(image, reference, found.digest, known != image.entry.manifest)


async def pull_first(
    store: Store,
    client: RegistryClient,
    references: Sequence[Reference],
    options: PullOptions,
    watch: Watch,
) -> Pulled:
    """Pull the first of several images that its registry gives; raises as `pull` for the last."""
    *others, last = references
    for reference in others:
        try:
            return await pull(store, client, reference, options, watch)
        except (NotThere, Denied, Unavailable) as error:
            log.warning("%s: %s; trying the next registry", reference, error.strerror)
    return await pull(store, client, last, options, watch)


async def _find(client: RegistryClient, reference: Reference, platform: Platform) -> _Found:
    """Ask one source after the other."""
    *mirrors, last = sources = client.pull_sources(reference)
    for position, source in enumerate(mirrors):
        try:
            return await _find_in(source, sources[position:], reference, platform)
        except RegistryError as error:
            log.warning("%s: %s; trying the next source", source.name, error.strerror)
    return await _find_in(last, [last], reference, platform)


async def _find_in(
    source: Repository, sources: Sequence[Repository], reference: Reference, platform: Platform
) -> _Found:
    tag = reference.digest or reference.tag
    assert tag is not None, "a reference has a tag or a digest by now"
    fetched = await source.fetch_manifest(tag)
    parsed = parse_manifest(fetched.raw, fetched.content_type, fetched.digest)
    named = parsed if isinstance(parsed, Index) else None
    for _ in range(_DEEPEST_INDEX):
        if isinstance(parsed, Manifest):
            return _Found(_require_image(parsed, source), named, sources)
        chosen = choose(parsed.manifests, platform)
        parsed = await _fetch_chosen(source, chosen)
    raise BadDocument(f"{source.name}@{fetched.digest}", "an index of indexes of indexes")


async def _fetch_chosen(source: Repository, chosen: Descriptor) -> Manifest | Index:
    fetched = await source.fetch_manifest(chosen.digest)
    if len(fetched.raw) != chosen.size:
        why = f"has {len(fetched.raw)} bytes, its index says {chosen.size}"
        raise BadDocument(f"{source.name}@{chosen.digest}", why)
    return parse_manifest(fetched.raw, chosen.media_type, chosen.digest)


def _require_image(manifest: Manifest, source: Repository) -> Manifest:
    if not manifest.is_image:
        what = f"{source.name}@{manifest.digest}"
        strange = [layer.media_type for layer in manifest.layers if not is_layer(layer.media_type)]
        if not is_config(manifest.config.media_type):
            strange.insert(0, manifest.config.media_type)
        raise BadDocument(what, f"not an image to run: it has {strange[0]!r}")
    return manifest


async def _fetch_config(found: _Found, addition: Addition) -> ImageConfig:
    source = found.sources[0]
    raw = await source.read_blob(found.manifest.config, LARGEST_CONFIG)
    config = parse_config(raw, found.manifest.config.digest)
    if len(config.diff_ids) != len(found.manifest.layers):
        what = f"{source.name}@{found.manifest.digest}"
        why = f"{len(found.manifest.layers)} layers, its config has {len(config.diff_ids)}"
        raise BadDocument(what, why)
    for document in (raw, found.manifest.raw, *(() if found.index is None else (found.index.raw,))):
        await trio.to_thread.run_sync(addition.put_blob, document)
    return config


async def _fetch_layers(
    found: _Found,
    config: ImageConfig,
    reference: Reference,
    options: PullOptions,
    addition: Addition,
    watch: Watch,
) -> None:
    # A layer may stand there twice, and two blobs may be one layer: each comes once.
    blobs = dict(zip(config.diff_ids, found.manifest.layers, strict=True))
    missing = []
    for diff_id, blob in blobs.items():
        wanted = WantedLayer(blob, diff_id, found.sources, reference.repository)
        if await options.keeping.is_done(wanted, addition):
            watch.layer(wanted.ident, LayerState.EXISTS)
        else:
            watch.layer(wanted.ident, LayerState.PULLING)
            missing.append(wanted)
    for wanted in missing[options.parallel :]:
        watch.layer(wanted.ident, LayerState.WAITING)
    queue = iter(missing)
    packs = None
    if options.lazy is not None and missing:
        packs = await Packs.find(found.manifest.digest, found.sources)

    async def work() -> None:
        for wanted in queue:
            lazy = options.lazy
            if packs and lazy and await packs.begin(wanted, addition, lazy, watch):
                continue
            await fetch_layer(wanted, addition, options.keeping, watch)

    await run_together([work] * options.parallel)


def _known(store: Store, reference: Reference) -> str | None:
    """The manifest that the store has under this name so far."""
    try:
        return store.image(reference.canonical).entry.manifest
    except NotInStore:
        return None


def _add_image(addition: Addition, found: _Found, reference: Reference, whole: bool) -> StoredImage:
    names = () if reference.tag is None or reference.digest is not None else (reference,)
    return addition.add_image(
        found.manifest,
        references=names,
        index=None if found.index is None else found.index.digest,
        repositories=(reference.repository,),
        whole=whole,
    )
