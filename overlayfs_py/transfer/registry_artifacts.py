"""An artifact in a registry, under a tag."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio
from msgspec import structs

from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.documents import LARGEST_CONFIG
from overlayfs_py.image.manifest import parse_manifest
from overlayfs_py.image.media_types import OCI_LAYER
from overlayfs_py.registry.client import RegistryClient
from overlayfs_py.registry.errors import RegistryError
from overlayfs_py.registry.uploads import put_manifest, upload_bytes
from overlayfs_py.transfer.artifacts import Artifact, PutLayer, require_artifact
from overlayfs_py.transfer.layer_download import Keeping, WantedLayer, fetch_layer
from overlayfs_py.transfer.layer_upload import LayerUpload, Outgoing
from overlayfs_py.transfer.watch import LayerState, Unwatched

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from typing import BinaryIO

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.client import ClientOptions
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RegistryPlace:
    """A tag of a repository; reads also a digest, and from mirrors."""

    reference: Reference
    options: ClientOptions
    config_type: str  # of the artifacts that are read
    open_blob: Callable[[Digest], BinaryIO | None]  # of the store

    @property
    def name(self) -> str:
        return self.reference.familiar

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenRegistry]:
        async with RegistryClient(self.options) as client:
            yield OpenRegistry(self, client)


class OpenRegistry:
    """A registry that is connected to."""

    def __init__(self, place: RegistryPlace, client: RegistryClient) -> None:
        self._place = place
        self._client = client
        self._sources = client.pull_sources(place.reference)

    async def read(self) -> Artifact:
        *mirrors, last = self._sources
        for position, source in enumerate(mirrors):
            try:
                found = await self._read_from(source)
            except RegistryError as error:
                log.warning("%s: %s; trying the next source", source.name, error.strerror)
            else:
                self._sources = self._sources[position:]
                return found
        self._sources = [last]
        return await self._read_from(last)

    async def _read_from(self, source: Repository) -> Artifact:
        reference = self._place.reference
        tag = reference.digest or reference.tag
        assert tag is not None, "a reference has a tag or a digest by now"
        fetched = await source.fetch_manifest(tag)
        parsed = parse_manifest(fetched.raw, fetched.content_type, fetched.digest)
        manifest = require_artifact(parsed, self._place.config_type, self._place.name)
        return Artifact(manifest, await source.read_blob(manifest.config, LARGEST_CONFIG))

    async def read_blob(self, blob: Descriptor, largest: int) -> bytes:
        *mirrors, last = self._sources
        for source in mirrors:
            try:
                return await source.read_blob(blob, largest)
            except RegistryError as error:
                log.warning("%s: %s; trying the next source", source.name, error.strerror)
        return await last.read_blob(blob, largest)

    async def bring_layer(self, blob: Descriptor, diff_id: Digest, addition: Addition) -> bool:
        wanted = WantedLayer(blob, diff_id, self._sources, self._place.reference.repository)
        watch = _Outcome()
        await fetch_layer(wanted, addition, Keeping(), watch)
        return watch.state is LayerState.PULLED

    async def has_blob(self, digest: Digest) -> bool:
        return await self._target.find_blob(digest) is not None

    async def put_layer(self, layer: StoredLayer, addition: Addition) -> PutLayer:
        watch = _Outcome()
        tar = Descriptor(OCI_LAYER, layer.diff_id, layer.record.tar_size)
        outgoing = Outgoing(layer, tar, (), may_change=True)
        upload = LayerUpload(outgoing, self._target, self._client, self._place.open_blob, watch)
        placed = await upload.place()
        if placed.known is not None:
            sources = (self._place.reference.repository, *placed.known.sources)
            known = structs.replace(placed.known, sources=tuple(dict.fromkeys(sources)))
            await trio.to_thread.run_sync(addition.note_blob, layer.diff_id, known)
        return PutLayer(placed.blob, watch.state is LayerState.PUSHED)

    async def put_blob(self, data: bytes) -> bool:
        digest = digest_of(data)
        if await self.has_blob(digest):
            return False
        await upload_bytes(self._target, digest, data)
        return True

    async def put_manifest(self, manifest: Manifest) -> None:
        tag = self._place.reference.tag
        assert tag is not None, "a registry needs a tag"
        await put_manifest(self._target, tag, manifest.raw, manifest.media_type)

    @property
    def _target(self) -> Repository:
        return self._client.push_target(self._place.reference)


class _Outcome(Unwatched):
    """Keeps what became of a layer."""

    state: LayerState | None = None

    def layer(self, ident: str, state: LayerState, detail: str = "") -> None:
        del ident, detail
        self.state = state
