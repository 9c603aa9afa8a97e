"""One layer on its way from the store to a registry.

A registry wants the very blob that the manifest names, and the store keeps layers in another form.
So the ways are tried in the order of what they cost: it is there; the registry takes it from
another of its repositories; the store kept it; it can be made again byte for byte; it comes from
the registry that it was pulled from. Where no way is left, only a blob compressed anew can go,
under another digest.
"""

from __future__ import annotations

import functools
import logging
import zlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.image import media_types
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import Digest, hex_of
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.registry.errors import Refused
from overlayfs_py.store.records import LayerBlob
from overlayfs_py.tars.engines import Compression
from overlayfs_py.transfer.blob_upload import BlobUpload, fetched
from overlayfs_py.transfer.chunk_sources import FromBlob, FromLayer, SourceFailed
from overlayfs_py.transfer.failures import CannotPush
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
    from typing import BinaryIO

    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.transfer.chunk_sources import ChunkSource
    from overlayfs_py.transfer.watch import Watch

    OpenBlob = Callable[[Digest], BinaryIO | None]

log = logging.getLogger(__name__)

LEVEL = 6  # zlib's own: 9 takes four times as long for a hundredth less
RECIPE: dict[str, str | int] = {
    "compression": Compression.GZIP.value,
    "level": LEVEL,
    "zlib": zlib.ZLIB_RUNTIME_VERSION,
}


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A layer, and what the image's manifest says of its blob."""

    layer: StoredLayer
    blob: Descriptor
    repositories: Sequence[str]  # where the image was pulled from
    may_change: bool  # the blob may get another digest than the manifest says

    @property
    def ident(self) -> str:
        """What docker shows of it while pushing."""
        return hex_of(self.layer.diff_id)[:12]

    @property
    def is_tar(self) -> bool:
        """Whether the blob is the uncompressed tar."""
        return self.blob.digest == self.layer.diff_id

    @property
    def known(self) -> LayerBlob | None:
        """What the store knows of the blob."""
        blobs = self.layer.record.blobs
        return next((known for known in blobs if known.digest == self.blob.digest), None)

    @property
    def sources(self) -> list[str]:
        """The repositories that have the blob, or had it."""
        known = () if self.known is None else self.known.sources
        return list(dict.fromkeys((*known, *self.repositories)))


@dataclass(frozen=True, slots=True)
class Placed:
    """A layer that is at the target."""

    blob: Descriptor
    known: LayerBlob | None  # what the store should know of the blob; None: nothing is certain


class LayerUpload:
    """Puts one layer into a repository."""

    def __init__(
        self,
        outgoing: Outgoing,
        target: Repository,
        client: RegistryClient,
        open_blob: OpenBlob,
        watch: Watch,
    ) -> None:
        self._outgoing = outgoing
        self._target = target
        self._client = client
        self._open_blob = open_blob
        self._watch = watch
        self._what = f"{target.name}@{outgoing.blob.digest}"
        self._blob = BlobUpload(target, self._what, self._show)

    async def place(self) -> Placed:
        """Have the layer at the target.

        Raises:
            CannotPush: its blob is nowhere.
            RegistryError: the target does not take it.
        """
        outgoing = self._outgoing
        if outgoing.may_change and outgoing.is_tar:
            return await self._place_compressed()
        if await self._find(outgoing.blob.digest, outgoing.sources):
            return Placed(outgoing.blob, outgoing.known)
        if await self._send_kept() or await self._make_again() or await self._pass_on():
            self._watch.layer(outgoing.ident, LayerState.PUSHED)
            return Placed(outgoing.blob, outgoing.known)
        if outgoing.may_change:
            return await self._place_compressed()
        raise CannotPush(self._what, outgoing.sources)

    async def _place_compressed(self) -> Placed:
        """Have a compressed form at the target, an earlier one if it is there."""
        outgoing = self._outgoing
        for known in outgoing.layer.record.blobs:
            if media_types.compression_of(known.media_type) is media_types.Compression.NONE:
                continue
            if await self._find(Digest(known.digest), known.sources):
                return Placed(Descriptor(known.media_type, Digest(known.digest), known.size), known)
        sent = await self._blob.send(lambda: _made(outgoing.layer, Compression.GZIP, LEVEL), None)
        assert sent is not None, "no digest was wanted that it could fail to have"
        self._watch.layer(outgoing.ident, LayerState.PUSHED)
        kind = media_types.kind_of(outgoing.blob.media_type)
        media_type = kind.layer(media_types.Compression.GZIP)
        known = LayerBlob(digest=sent.digest, size=sent.size, media_type=media_type, recipe=RECIPE)
        return Placed(Descriptor(media_type, sent.digest, sent.size), known)

    # What costs nothing.

    async def _find(self, digest: Digest, sources: Iterable[str]) -> bool:
        """Whether the target has the blob, or takes it from its neighbour."""
        if await self._target.find_blob(digest) is not None:
            self._watch.layer(self._outgoing.ident, LayerState.AT_TARGET)
            return True
        for source in self._elsewhere(sources):
            if await self._blob.mount(digest, source):
                self._watch.layer(self._outgoing.ident, LayerState.MOUNTED, source.path)
                return True
        return False

    def _elsewhere(self, sources: Iterable[str]) -> Iterator[Repository]:
        for name in sources:
            try:
                repositories = self._client.pull_sources(parse_reference(name))
            except Refused as error:  # registries.conf blocks it
                log.warning("%s: %s", name, error.strerror)
                continue
            yield from (source for source in repositories if source != self._target)

    # What moves bytes.

    async def _send_kept(self) -> bool:
        """Send the blob that the store has, if it is not damaged; whether it did."""
        digest = self._outgoing.blob.digest
        kept = self._open_blob(digest)
        if kept is None:
            return False
        with kept:
            return await self._blob.send(lambda: _from_start(kept), digest) is not None

    async def _make_again(self) -> bool:
        """Compress as it was compressed before, if that is known; whether it became the blob."""
        outgoing = self._outgoing
        if outgoing.is_tar:
            way: tuple[Compression, int | None] = Compression.PLAIN, None
        elif outgoing.known is not None and outgoing.known.recipe == RECIPE:
            way = Compression.GZIP, LEVEL
        else:
            return False  # unknown, or by another version of zlib
        digest = outgoing.blob.digest
        return await self._blob.send(lambda: _made(outgoing.layer, *way), digest) is not None

    async def _pass_on(self) -> bool:
        """Fetch it from where it was pulled from; whether somebody has it."""
        blob = self._outgoing.blob
        for source in self._elsewhere(self._outgoing.sources):
            try:
                open_source = functools.partial(fetched, source, blob)
                if await self._blob.send(open_source, blob.digest) is not None:
                    return True
            except SourceFailed as error:
                log.warning("%s: %s", error.filename, error.strerror)
        return False

    def _show(self, position: int) -> None:
        ident, total = self._outgoing.ident, max(self._outgoing.blob.size, position)
        self._watch.progress(ident, LayerState.PUSHING, position, total)


@asynccontextmanager
async def _made(
    layer: StoredLayer, compression: Compression, level: int | None
) -> AsyncIterator[ChunkSource]:
    source = FromLayer(layer, compression, level)
    try:
        yield source
    finally:
        source.close()


@asynccontextmanager
async def _from_start(blob: BinaryIO) -> AsyncIterator[ChunkSource]:
    blob.seek(0)
    yield FromBlob(blob)
