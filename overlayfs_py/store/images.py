"""Images: a manifest that has an entry, with the config and the layers that it stands for.

All that reads here needs the store's lock, shared.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.config import parse_config
from overlayfs_py.image.digest import Digest
from overlayfs_py.image.manifest import parse_image_manifest
from overlayfs_py.store import blobs, layers, names
from overlayfs_py.store.failures import NotInStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.image.config import ImageConfig
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.records import ImageEntry, TagEntry
    from overlayfs_py.store.stored_layer import StoredLayer

_log = logging.getLogger(__name__)


class StoredImage(msgspec.Struct, frozen=True):
    """An image as it was when it was looked up."""

    entry: ImageEntry
    manifest: Manifest
    config: ImageConfig
    layers: tuple[StoredLayer, ...]  # lowest first, one for each diff ID of the config
    tags: tuple[TagEntry, ...]  # by their reference

    def __repr__(self) -> str:
        return f"<StoredImage {' '.join([self.image_id, *self.references])}>"

    @property
    def image_id(self) -> Digest:
        return self.config.image_id

    @property
    def references(self) -> tuple[str, ...]:
        """What names it, in full: `docker.io/library/debian:12`."""
        return tuple(tag.reference for tag in self.tags)

    @property
    def repo_digests(self) -> tuple[str, ...]:
        """What it can be pulled by, in full: `docker.io/library/debian@sha256:...`."""
        return self.entry.repo_digests

    @property
    def index(self) -> Digest | None:
        """The digest of the index that it was chosen from."""
        return Digest(self.entry.index) if self.entry.index else None

    @property
    def layers_once(self) -> tuple[StoredLayer, ...]:
        """The layers, one that occurs twice where it is first."""
        return tuple({layer.diff_id: layer for layer in self.layers}.values())

    @property
    def coming(self) -> tuple[StoredLayer, ...]:
        """The layers that are not whole yet, each once."""
        return tuple(layer for layer in self.layers_once if not layer.is_whole)

    @property
    def size(self) -> int:
        """What the files of all layers add up to, a layer that occurs twice counted once."""
        return sum(layer.record.files_size for layer in self.layers_once)


def require(places: Places, manifest: Digest) -> StoredImage:
    """Return the image of a manifest.

    Raises:
        NotInStore: it is none, or a part of it is missing.
    """
    entry = names.find_entry(places, manifest)
    if entry is None:
        raise NotInStore(manifest, "image")
    tags = [tag for tag in names.all_tags(places) if tag.manifest == manifest]
    return _load(places, entry, tags)


def all_images(places: Places) -> list[StoredImage]:
    """All images, the one added last first. A damaged one is only warned of."""
    tags = names.all_tags(places)
    found = []
    for entry in names.all_entries(places):
        own = [tag for tag in tags if tag.manifest == entry.manifest]
        try:
            found.append(_load(places, entry, own))
        except OverlayError as error:
            # One damaged image must not hide the others.
            _log.warning(
                "image %s: %s: %s (see `store fsck`)",
                *(entry.manifest, error.filename, error.strerror),
            )
    return found


def manifest_of(places: Places, entry: ImageEntry) -> Manifest:
    """The manifest of an image."""
    digest = Digest(entry.manifest)
    return parse_image_manifest(blobs.read(places, digest), entry.media_type, digest)


def config_of(places: Places, manifest: Manifest) -> ImageConfig:
    """The config that a manifest names."""
    return parse_config(blobs.read(places, manifest.config.digest), manifest.config.digest)


def chains(places: Places) -> dict[str, tuple[Digest, ...]]:
    """The chain IDs of all undamaged images, lowest first, by their manifest."""
    found = {}
    for entry in names.all_entries(places):
        # What is damaged has no chain that anybody could tell of.
        with suppress(OverlayError):
            found[entry.manifest] = config_of(places, manifest_of(places, entry)).chain_ids
    return found


def require_parts(places: Places, manifest: Manifest, *, whole: bool = True) -> ImageConfig:
    """Return the config of a manifest all of whose parts are in the store.

    Unless its layers are to be `whole`, some may still be coming.

    Raises:
        NotInStore: one is missing.
    """
    blobs.read(places, manifest.digest)
    config = config_of(places, manifest)
    for diff_id in config.diff_ids:
        (layers.require if whole else layers.require_usable)(places, diff_id)
    return config


def unnamed(places: Places, entry: ImageEntry) -> StoredImage:
    """What the image of an entry would be that the store does not have."""
    return _load(places, entry, ())


def _load(places: Places, entry: ImageEntry, tags: Iterable[TagEntry]) -> StoredImage:
    manifest = manifest_of(places, entry)
    config = config_of(places, manifest)
    return StoredImage(entry, manifest, config, _layers(places, config.diff_ids), tuple(tags))


def _layers(places: Places, diff_ids: Sequence[Digest]) -> tuple[StoredLayer, ...]:
    return tuple(layers.require_usable(places, diff_id) for diff_id in diff_ids)
