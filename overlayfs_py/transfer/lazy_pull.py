"""Bringing an image into the store without its data: what a mount needs before the first read.

Of each layer that has a pack in the registry only the index comes, by one request; its chunks come
when they are read, or in the background (`chunk_server`). The other layers are pulled whole.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from overlayfs_py.errors import CorruptLayer, OverlayError
from overlayfs_py.image.manifest import parse_image_manifest
from overlayfs_py.packs.arrivals import new_head
from overlayfs_py.packs.format import (
    CHUNK,
    DIGEST_SIZE,
    FOOTER_SIZE,
    BadFooter,
    SectionId,
    header,
    parse_footer,
)
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.to_tar import is_exact, origin
from overlayfs_py.registry.byte_range import ByteRange
from overlayfs_py.registry.errors import RegistryError
from overlayfs_py.registry.referrers import find_referrers
from overlayfs_py.store.layer_writing import new_file
from overlayfs_py.store.layers import LayerFacts
from overlayfs_py.store.places import HERE, PACK
from overlayfs_py.store.records import ComingSource, LayerBlob
from overlayfs_py.transfer import pack_artifact
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.packs.format import Footer
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.transfer.layer_download import WantedLayer
    from overlayfs_py.transfer.pack_artifact import PackBlob
    from overlayfs_py.transfer.watch import Watch

log = logging.getLogger(__name__)

WAIT_S = 30.0
# What is read before anything of it is known: a million files have 100 MB of index.
_LARGEST_INDEX = 1 << 30


@dataclass(frozen=True, slots=True)
class Laziness:
    """How layers come that have a pack."""

    wait_s: float = WAIT_S  # how long a reader waits for a chunk
    tls_verify: bool | None = None  # as the pull was told, for what is fetched later
    cert_dir: str = ""
    authfile: str = ""


class Packs:
    """The packs that registries have of an image."""

    def __init__(
        self,
        found: dict[Digest, PackBlob],
        order: dict[str, list[int]],
        sources: Sequence[Repository],
    ) -> None:
        self._found = found
        self._order = order
        self._sources = sources

    @classmethod
    async def find(cls, image: Digest, sources: Sequence[Repository]) -> Packs:
        """Ask one source after the other; where none has any there are none."""
        for position, source in enumerate(sources):
            try:
                listed = await find_referrers(source, image, pack_artifact.ARTIFACT_TYPE)
                if listed:
                    # The last one was pushed last.
                    found, order = await _read(source, listed[-1].digest, image)
                    return cls(found, order, sources[position:])
            except OverlayError as error:
                log.warning("%s: no packs: %s", source.name, error)
        return cls({}, {}, ())

    async def begin(
        self, wanted: WantedLayer, addition: Addition, how: Laziness, watch: Watch
    ) -> bool:
        """Have a layer be there as far as a mount needs it; False: it has to be pulled whole.

        A pack is believed as far as the registry is that it is the layer it is said to be: its tar
        is compared with the diff ID when all of it is here.
        """
        pack = self._found.get(wanted.diff_id)
        if pack is None:
            return False
        known = await trio.to_thread.run_sync(addition.find_coming, wanted.diff_id)
        if known is not None:
            # Another pack of the same layer may come from somebody else, and would be believed.
            watch.layer(wanted.ident, LayerState.EXISTS)
            return known[1].pack == pack.pack
        try:
            tail = await self._fetch_tail(pack)
            footer = _checked_footer(pack, tail)
            beginning = _Beginning(wanted, pack, footer, tail, how)
            order = self._order.get(wanted.diff_id, [])
            await trio.to_thread.run_sync(beginning.write, addition, order)
        except (RegistryError, CorruptLayer) as error:
            log.warning("%s: its pack cannot be used, it comes whole: %s", wanted.diff_id, error)
            return False
        watch.layer(wanted.ident, LayerState.INDEXED)
        return True

    async def _fetch_tail(self, pack: PackBlob) -> bytes:
        """Fetch the index and what stands behind it."""
        if pack.blob.size - pack.index_offset > _LARGEST_INDEX:
            raise CorruptLayer(pack.blob.digest.encode(), "its index is too large")
        *mirrors, last = self._sources
        for source in mirrors:
            try:
                return await _tail_from(source, pack)
            except RegistryError as error:
                log.warning("%s: %s; trying the next source", source.name, error.strerror)
        return await _tail_from(last, pack)


async def _read(
    source: Repository, digest: Digest, image: Digest
) -> tuple[dict[Digest, PackBlob], dict[str, list[int]]]:
    """What an artifact about an image has, and in which order that was used."""
    fetched = await source.fetch_manifest(digest)
    artifact = parse_image_manifest(fetched.raw, fetched.content_type, fetched.digest)
    found = pack_artifact.packs_in(artifact, image)
    blob = pack_artifact.order_in(artifact)
    if blob is None:
        return found, {}
    raw = await source.read_blob(blob, pack_artifact.LARGEST_ORDER)
    return found, pack_artifact.decode_order(raw)


async def _tail_from(source: Repository, pack: PackBlob) -> bytes:
    async with ByteRange(source, pack.blob, pack.index_offset, pack.blob.size) as part:
        return await part.read()


def _checked_footer(pack: PackBlob, tail: bytes) -> Footer:
    """The footer, if it is that of the pack, and the bytes before it are what it says.

    Raises:
        CorruptLayer: it is not.
    """
    name = pack.blob.digest.encode()
    try:
        footer = parse_footer(tail[-FOOTER_SIZE:], pack.blob.size)
    except BadFooter as error:
        raise CorruptLayer(name, str(error)) from None
    if f"sha256:{tail[-DIGEST_SIZE:].hex()}" != pack.pack:
        raise CorruptLayer(name, "it is another pack than its manifest says")
    if footer.index_offset != pack.index_offset:
        raise CorruptLayer(name, "its index is elsewhere than its manifest says")
    digests = tail[footer.index_length : -FOOTER_SIZE]
    if hashlib.sha256(digests).digest() != footer.digests_sha256:
        raise CorruptLayer(name, "the digests of its index are damaged")
    return footer


class _Beginning:
    """The files of a layer that begins to come."""

    def __init__(
        self, wanted: WantedLayer, pack: PackBlob, footer: Footer, tail: bytes, how: Laziness
    ) -> None:
        self._wanted = wanted
        self._pack = pack
        self._footer = footer
        self._tail = tail
        self._how = how

    def write(self, addition: Addition, order: Sequence[int]) -> None:
        """Put it into the store.

        Raises:
            CorruptLayer: its index is damaged, or says that it is of another layer.
        """
        with addition.scratch_directory() as directory:
            self._fill(directory)
            facts = self._facts(directory / PACK)
            addition.begin_coming(facts, self._source(order), directory)

    def _source(self, order: Sequence[int]) -> ComingSource:
        how, pack = self._how, self._pack
        return ComingSource(
            diff_id=pack.diff_id,
            pack=pack.pack,
            blob=pack.blob.digest,
            size=pack.blob.size,
            repositories=(self._wanted.known_as,),
            order=tuple(order),
            tls_verify=how.tls_verify,
            cert_dir=how.cert_dir,
            authfile=how.authfile,
        )

    def _fill(self, directory: Path) -> None:
        footer = self._footer
        with new_file(directory / PACK) as out:
            out.truncate(footer.file_size)
            os.pwrite(out.fileno(), header(footer.chunk_log2), 0)
            view, offset = memoryview(self._tail), footer.index_offset
            while view:
                done = os.pwrite(out.fileno(), view, offset)
                view, offset = view[done:], offset + done
        section = next(each for each in footer.sections if each.id == SectionId.CHUNKS)
        with new_file(directory / HERE) as out:
            out.write(new_head(self._how.wait_s) + bytes(section.length // CHUNK.size))

    def _facts(self, path: Path) -> LayerFacts:
        with Pack(os.fsencode(path)) as pack:
            for _, damage in pack.index.load_all():
                if damage is not None:
                    raise damage
            told = origin(pack)
            if told is None or told[0] != self._wanted.diff_id or not is_exact(pack):
                raise CorruptLayer(os.fsencode(path), f"not a pack of {self._wanted.diff_id}")
            inodes = map(pack.index.inode, range(pack.index.inodes))
            files_size = sum(each.size for each in inodes if stat.S_ISREG(each.mode))
        blob = self._wanted.blob
        known = LayerBlob(
            digest=blob.digest,
            size=blob.size,
            media_type=blob.media_type,
            sources=(self._wanted.known_as,),
        )
        return LayerFacts(self._wanted.diff_id, told[1], files_size, self._pack.pack, known)
