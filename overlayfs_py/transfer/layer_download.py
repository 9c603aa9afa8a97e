"""One layer on its way from a registry into the store, checked while it streams.

Plan: a task appends what comes to the store's unfinished download and sends it down a pipe; a
thread at its end makes a layer of it. So a layer is there soon after its last byte, no tar ever is
on the disk, and whoever comes after a crash begins where the download ends. Nothing is a layer
before the blob's digest and size and the tar's digest are what manifest and config say.
"""

from __future__ import annotations

import hashlib
import logging
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import trio

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import DigestMismatch, WrongContent, hex_of
from overlayfs_py.registry.errors import RegistryError
from overlayfs_py.store.failures import Busy
from overlayfs_py.store.layer_writing import write_layer
from overlayfs_py.store.layers import LayerFacts
from overlayfs_py.store.records import Form, LayerBlob
from overlayfs_py.store.stored_layer import StoredLayer
from overlayfs_py.transfer.block_pipe import BlockPipe, BrokenOff
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.downloads import Download
    from overlayfs_py.store.layers import LayerIngest
    from overlayfs_py.transfer.watch import Watch

log = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 20
_POLL_S = 0.2  # how often to see whether another process is done with a layer

Held = TypeVar("Held")


@dataclass(frozen=True, slots=True)
class WantedLayer:
    """A layer as the manifest and the config describe it."""

    blob: Descriptor
    diff_id: Digest
    sources: Sequence[Repository]  # in the order to try
    known_as: str  # the repository's name, for later

    @property
    def ident(self) -> str:
        """What docker shows of it."""
        return hex_of(self.blob.digest)[:12]


@dataclass(frozen=True, slots=True)
class Keeping:
    """What the store keeps of a layer."""

    form: Form = Form.PACK
    blob: bool = False  # the compressed blob, too

    async def is_done(self, wanted: WantedLayer, addition: Addition) -> bool:
        """Whether the store has all of it; it stays."""
        if await trio.to_thread.run_sync(addition.find_layer, wanted.diff_id) is None:
            return False
        if self.blob and not await trio.to_thread.run_sync(addition.has_blob, wanted.blob.digest):
            return False
        await trio.to_thread.run_sync(addition.forget_download, wanted.blob.digest)
        return True


async def fetch_layer(
    wanted: WantedLayer, addition: Addition, keeping: Keeping, watch: Watch
) -> None:
    """Bring a layer into the store; another process that is at it does the work for both.

    Raises:
        DigestMismatch, WrongSize: it is not what it is said to be; nothing of it stays.
        RegistryError: it does not come. What came stays for the next time.
    """
    with ExitStack() as held:
        ingest = await _when_free(
            held, lambda: addition.ingest_layer(wanted.diff_id, keeping.form, wait=False)
        )
        if isinstance(ingest, StoredLayer):
            if await keeping.is_done(wanted, addition):
                watch.layer(wanted.ident, LayerState.EXISTS)
                return
            # Only the blob is missing. To make the layer again is the way to check it.
            ingest = held.enter_context(addition.ingest_unknown_layer())
        download = await _when_free(held, lambda: addition.download(wanted.blob.digest, wait=False))
        facts = await _Arrival(wanted, download, watch).write_to(ingest)
        await trio.to_thread.run_sync(addition.commit_layer, ingest, facts)
        if keeping.blob:
            await trio.to_thread.run_sync(addition.keep_download, download, wanted.blob.digest)
        else:
            download.finish()
        watch.layer(wanted.ident, LayerState.PULLED)


async def _when_free(held: ExitStack, ask: Callable[[], AbstractContextManager[Held]]) -> Held:
    while True:
        try:
            return held.enter_context(ask())
        except Busy:
            await trio.sleep(_POLL_S)


class _Arrival:
    def __init__(self, wanted: WantedLayer, download: Download, watch: Watch) -> None:
        self._wanted = wanted
        self._blob = wanted.blob
        self._download = download
        self._watch = watch
        self._failure: OSError | None = None
        self._sent = 0  # bytes down the pipe

    async def write_to(self, ingest: LayerIngest) -> LayerFacts:
        """Write the layer; what an earlier process left is used, and forgotten if it was wrong."""
        if self._download.size > self._blob.size:
            self._download.restart()
        had_some = self._download.size > 0
        try:
            return await self._write(ingest)
        except OverlayError as error:
            # What did not come is as good as what came: only wrong data is thrown away.
            if isinstance(error, RegistryError) and not isinstance(error, WrongContent):
                raise
            failure = error
        self._download.restart()
        if not had_some:
            raise failure
        log.info("%s: what was here was wrong: %s", self._blob.digest, failure)
        await trio.to_thread.run_sync(ingest.clear)
        return await self._write(ingest)

    async def _write(self, ingest: LayerIngest) -> LayerFacts:
        pipe = BlockPipe()
        self._failure, self._sent = None, 0
        facts: LayerFacts | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._feed, pipe)
            try:
                facts = await trio.to_thread.run_sync(self._make, pipe, ingest)
            except BrokenOff:
                pass  # the feeding task knows why
            except OSError as error:
                if error.filename is None:
                    error.filename = f"{self._wanted.known_as}@{self._blob.digest}"
                self._failure = self._failure or error
                nursery.cancel_scope.cancel()
            finally:
                pipe.stop_reading()
        if self._failure is not None:
            raise self._failure
        assert facts is not None
        return self._checked(facts)

    def _make(self, pipe: BlockPipe, ingest: LayerIngest) -> LayerFacts:
        facts, _ = write_layer(ingest, pipe.blocks())
        return facts

    def _checked(self, facts: LayerFacts) -> LayerFacts:
        if facts.diff_id != self._wanted.diff_id:
            what = f"{self._wanted.known_as}@{self._blob.digest} uncompressed"
            raise DigestMismatch(what, self._wanted.diff_id, facts.diff_id)
        blob = self._blob
        sources = (self._wanted.known_as,)
        known = LayerBlob(
            digest=blob.digest, size=blob.size, media_type=blob.media_type, sources=sources
        )
        return LayerFacts(facts.diff_id, facts.tar_size, facts.files_size, facts.pack, known)

    async def _feed(self, pipe: BlockPipe) -> None:
        """Send the whole blob down the pipe, or note why not."""
        try:
            await self._send_all(pipe)
            pipe.finish()
        except OSError as error:
            self._failure = self._failure or error
        except trio.BrokenResourceError:
            pass  # the thread has failed, and its error is known
        finally:
            pipe.break_off()

    async def _send_all(self, pipe: BlockPipe) -> None:
        *mirrors, last = self._wanted.sources
        for source in mirrors:
            try:
                return await self._send_from(source, pipe)
            except RegistryError as error:
                if isinstance(error, WrongContent):
                    raise
                log.warning("%s: %s; trying the next source", source.name, error.strerror)
        return await self._send_from(last, pipe)

    async def _send_from(self, source: Repository, pipe: BlockPipe) -> None:
        state = await self._send_earlier(pipe)
        gathered = bytearray()
        stream = source.open_blob(self._blob, start=self._download.size, state=state)
        async with stream:
            try:
                while piece := await stream.receive_some():
                    gathered += piece
                    if len(gathered) >= _BLOCK_BYTES:
                        block, gathered = bytes(gathered), bytearray()
                        await self._keep(block)
                        await self._send(pipe, block)
            finally:
                # What came is worth keeping, whatever went wrong after it.
                with trio.CancelScope(shield=True):
                    await self._keep(bytes(gathered))
        self._watch.layer(self._wanted.ident, LayerState.VERIFYING)
        await self._send(pipe, bytes(gathered))
        self._watch.layer(self._wanted.ident, LayerState.DOWNLOADED)

    async def _send_earlier(self, pipe: BlockPipe) -> hashlib._Hash:
        """Send what is here and was not sent; returns the SHA-256 of all that is here."""
        state = hashlib.sha256()
        for offset in range(0, self._download.size, _BLOCK_BYTES):
            block = await trio.to_thread.run_sync(self._download.read, offset, _BLOCK_BYTES)
            state.update(block)
            await self._send(pipe, block[max(0, self._sent - offset) :])
        return state

    async def _keep(self, block: bytes) -> None:
        await trio.to_thread.run_sync(self._download.append, block)

    async def _send(self, pipe: BlockPipe, block: bytes) -> None:
        if block:
            await pipe.send(block)
            self._sent += len(block)
            ident, total = self._wanted.ident, self._blob.size
            self._watch.progress(ident, LayerState.DOWNLOADING, self._sent, total)
