"""Bringing all of an index to a registry: the images for all platforms, of which one is here.

Order: what the index lists, from where the image was pulled, each image's blobs before it; the
index last, byte for byte. Blobs of other platforms never touch the disk.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

import trio

from overlayfs_py.image.digest import hex_of
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.manifest import Index, Manifest, parse_manifest
from overlayfs_py.image.media_types import OCI_INDEX
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.registry.errors import RegistryError
from overlayfs_py.registry.uploads import put_manifest
from overlayfs_py.transfer.blob_upload import BlobUpload, fetched
from overlayfs_py.transfer.chunk_sources import SourceFailed
from overlayfs_py.transfer.failing import run_together
from overlayfs_py.transfer.failures import CannotPush, NoIndex
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.registry.repository import ManifestBytes, Repository
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.watch import Watch

log = logging.getLogger(__name__)

_PARALLEL = 3
_DEEPEST = 3  # an index may list an index (OCI image-spec image-index.md)


async def push_index(
    store: Store, client: RegistryClient, image: StoredImage, reference: Reference, watch: Watch
) -> Index:
    """Push the index that an image was chosen from, with all that it lists, under a tag.

    Raises:
        NoIndex: it was chosen from none.
        CannotPush: a part of it is nowhere any more.
        RegistryError: the registry does not take it.
    """
    assert reference.tag is not None, "a registry needs a tag"
    index = await trio.to_thread.run_sync(_index_of, store, image)
    copy = _Copy(client, image.entry.repositories, client.push_target(reference), watch)
    watch.say(f"The push refers to repository [{reference.repository}]")
    listed = await copy.gather(index)
    await copy.place_blobs(listed)
    for document in listed:
        await put_manifest(copy.target, document.digest, document.raw, document.media_type)
    await put_manifest(copy.target, reference.tag, index.raw, index.media_type)
    await trio.to_thread.run_sync(_note, store, image, reference.with_digest(index.digest))
    watch.say(f"{reference.tag}: digest: {index.digest} size: {len(index.raw)}")
    return index


def _index_of(store: Store, image: StoredImage) -> Index:
    if image.index is None:
        raise NoIndex(image.image_id)
    raw = store.read_blob(image.index)
    try:
        parsed = parse_manifest(raw, None, image.index)
    except BadDocument:
        parsed = parse_manifest(raw, OCI_INDEX, image.index)  # OCI's need not say what they are
    assert isinstance(parsed, Index), "an image is chosen from an index"
    return parsed


class _Copy:
    def __init__(
        self, client: RegistryClient, names: Iterable[str], target: Repository, watch: Watch
    ) -> None:
        self.target = target
        self._names = tuple(names)
        self._sources = [
            source for name in names for source in client.pull_sources(parse_reference(name))
        ]
        self._watch = watch

    async def gather(self, index: Index, depth: int = _DEEPEST) -> list[Manifest | Index]:
        """Fetch all that an index lists, an image before what lists it, each once."""
        found: dict[str, Manifest | Index] = {}
        for descriptor in index.manifests:
            raw = (await self._fetch(descriptor)).raw
            document = parse_manifest(raw, descriptor.media_type, descriptor.digest)
            if isinstance(document, Index):
                if not depth:
                    raise BadDocument(str(index.digest), "an index of indexes of indexes")
                found.update({each.digest: each for each in await self.gather(document, depth - 1)})
            found[document.digest] = document
        return list(found.values())

    async def _fetch(self, descriptor: Descriptor) -> ManifestBytes:
        for source in self._sources:
            try:
                return await source.fetch_manifest(descriptor.digest)
            except RegistryError as error:
                log.info("%s: %s", error.filename, error.strerror)
        raise CannotPush(f"{self.target.name}@{descriptor.digest}", self._names)

    async def place_blobs(self, documents: Sequence[Manifest | Index]) -> None:
        """Have the blobs of all images at the target."""
        blobs = {
            blob.digest: blob
            for document in documents
            if isinstance(document, Manifest)
            for blob in (document.config, *document.layers)
        }
        for digest in blobs:
            self._watch.layer(hex_of(digest)[:12], LayerState.PREPARING)
        queue = iter(blobs.values())

        async def work() -> None:
            for blob in queue:
                await self._place(blob)

        await run_together([work] * _PARALLEL)

    async def _place(self, blob: Descriptor) -> None:
        ident = hex_of(blob.digest)[:12]
        if await self.target.find_blob(blob.digest) is not None:
            self._watch.layer(ident, LayerState.AT_TARGET)
            return

        def show(position: int) -> None:
            self._watch.progress(ident, LayerState.PUSHING, position, max(blob.size, position))

        upload = BlobUpload(self.target, f"{self.target.name}@{blob.digest}", show)
        for source in self._sources:
            if await upload.mount(blob.digest, source):
                self._watch.layer(ident, LayerState.MOUNTED, source.path)
                return
            if await self._pass_on(upload, source, blob):
                self._watch.layer(ident, LayerState.PUSHED)
                return
        raise CannotPush(upload.what, self._names)

    async def _pass_on(self, upload: BlobUpload, source: Repository, blob: Descriptor) -> bool:
        try:
            open_source = functools.partial(fetched, source, blob)
            return await upload.send(open_source, blob.digest) is not None
        except SourceFailed as error:
            log.warning("%s: %s", error.filename, error.strerror)
            return False


def _note(store: Store, image: StoredImage, pushed: Reference) -> None:
    with store.add() as addition:
        addition.note_pushed(image.manifest.digest, pushed.canonical)
