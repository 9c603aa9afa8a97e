"""One blob on its way into a repository, wherever its bytes come from."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import trio

from overlayfs_py.registry.errors import Refused, RegistryError
from overlayfs_py.registry.retrying import Tries
from overlayfs_py.registry.transport import PIECE_BYTES
from overlayfs_py.registry.uploads import OnePutOnly, SentPieces, TooLarge, Upload, UploadLost
from overlayfs_py.transfer.chunk_sources import FromRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from typing import Self

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.transfer.chunk_sources import ChunkSource

    OpenSource = Callable[[], AbstractAsyncContextManager[ChunkSource]]

log = logging.getLogger(__name__)

_STEP_BYTES = 1 << 20  # read from a source at once
_LONGEST_GOODBYE_S = 5


class Sent(NamedTuple):
    """What was uploaded."""

    digest: Digest
    size: int


class BlobUpload:
    """The ways to put a blob into a repository."""

    def __init__(self, target: Repository, what: str, on_bytes: Callable[[int], object]) -> None:
        """`what` is the blob in errors; `on_bytes` is told how many bytes are there."""
        self.what = what
        self._target = target
        self._on_bytes = on_bytes

    async def mount(self, digest: Digest, source: Repository) -> bool:
        """Have the registry take it from another of its repositories; whether it did."""
        if source.host is not self._target.host:
            return False
        upload = Upload(self._target, self.what)
        try:
            if await upload.begin(digest, source.path):
                return True
        except RegistryError as error:
            # Of a registry that knows no mounts, or that denies to read there. Whether it takes
            # anything of us the next request tells.
            log.info("%s: not mounted: %s", self.what, error.strerror)
            return False
        await _forget(upload)
        return False

    async def send(self, open_source: OpenSource, want: Digest | None) -> Sent | None:
        """Upload what has the digest `want`, if it is not None; None: it had another.

        Raises:
            SourceFailed: where it comes from.
            RegistryError: the repository does not take it.
        """
        tries = Tries(self._target.host.retry)
        way = _Way.STREAM
        while True:
            upload = Upload(self._target, self.what)
            await upload.begin()
            try:
                return await _Sending(upload, open_source, want, self._on_bytes).go(way)
            except UploadLost as lost:
                failure = lost
            except (OnePutOnly, TooLarge) as refusal:
                await _forget(upload)
                if way is not _Way.STREAM:
                    raise
                way = _Way.PUT if isinstance(refusal, OnePutOnly) else _Way.PIECES
                continue
            except BaseException:
                await _forget(upload)
                raise
            await tries.wait_after(failure)


class _Way(Enum):
    """How a blob is sent that is larger than one piece."""

    STREAM = "stream"  # one PATCH; what is missing after a break in pieces
    PIECES = "pieces"
    PUT = "put"  # one PUT, after a first reading for the digest


class _Sending:
    """One upload from its begin to its end."""

    def __init__(
        self,
        upload: Upload,
        open_source: OpenSource,
        want: Digest | None,
        on_bytes: Callable[[int], object],
    ) -> None:
        self._upload = upload
        self._open_source = open_source
        self._want = want
        self._on_bytes = on_bytes

    async def go(self, way: _Way) -> Sent | None:
        match way:
            case _Way.STREAM:
                return await self._go_as_stream()
            case _Way.PIECES:
                return await self._go_in_pieces(0)
            case _Way.PUT:
                return await self._go_in_one_put()

    async def _go_as_stream(self) -> Sent | None:
        upload = self._upload
        async with self._open_source() as source:
            begin = await source.next_chunk(upload.chunk_bytes)
            more = await source.next_chunk(_STEP_BYTES)
            if not more:
                return await self._finish(source.digest, len(begin), begin)
            counted = _Counted(source, [begin, more], self._on_bytes)
            if await upload.send_stream(counted):
                return await self._finish(source.digest, counted.sent)
        await upload.find_position(0, counted.sent)
        try:
            return await self._go_in_pieces(upload.position)
        except Refused as refusal:
            # It takes one stream and no pieces.
            raise UploadLost(refusal.filename, str(refusal.strerror)) from refusal

    async def _go_in_pieces(self, start: int) -> Sent | None:
        """Send all from `start` on, the last piece with the end, if it may."""
        upload = self._upload
        async with self._open_source() as source:
            await _pass_over(source, start)
            chunk, sent = await source.next_chunk(upload.chunk_bytes), start
            while following := await source.next_chunk(upload.chunk_bytes):
                await self._send_chunk(chunk)
                sent += len(chunk)
                chunk = following
            if upload.position and chunk:
                await self._send_chunk(chunk)
                sent, chunk = sent + len(chunk), b""
            return await self._finish(source.digest, sent + len(chunk), chunk)

    async def _go_in_one_put(self) -> Sent | None:
        async with self._open_source() as source:
            size = 0
            while chunk := await source.next_chunk(_STEP_BYTES):
                size += len(chunk)
            digest = source.digest
        if self._want not in (None, digest):
            return await self._finish(digest, size)
        async with self._open_source() as source:
            counted = _Counted(source, [], self._on_bytes)
            await self._upload.put_stream(digest, size, counted)
        return Sent(digest, size)

    async def _finish(self, digest: Digest, size: int, last: bytes = b"") -> Sent | None:
        """End the upload, if it is the right blob."""
        if self._want not in (None, digest):
            await _forget(self._upload)
            return None
        await self._upload.finish(digest, last)
        return Sent(digest, size)

    async def _send_chunk(self, chunk: bytes) -> None:
        await self._upload.send(chunk)
        self._on_bytes(self._upload.position)


class _Counted(SentPieces):
    """A source in pieces that a slow network takes in time; `sent` bytes were taken."""

    def __init__(
        self, source: ChunkSource, read: list[bytes], on_bytes: Callable[[int], object]
    ) -> None:
        self.sent = 0
        self._source = source
        self._read = read  # before the rest of the source
        self._chunk, self._position = b"", 0
        self._on_bytes = on_bytes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._position == len(self._chunk):
            self._on_bytes(self.sent)
            self._chunk, self._position = await self._next_chunk(), 0
            if not self._chunk:
                raise StopAsyncIteration
        piece = self._chunk[self._position : self._position + PIECE_BYTES]
        self._position += len(piece)
        self.sent += len(piece)
        return piece

    async def _next_chunk(self) -> bytes:
        return self._read.pop(0) if self._read else await self._source.next_chunk(_STEP_BYTES)


async def _pass_over(source: ChunkSource, size: int) -> None:
    while size and (chunk := await source.next_chunk(min(size, _STEP_BYTES))):
        size -= len(chunk)


@asynccontextmanager
async def fetched(source: Repository, blob: Descriptor) -> AsyncIterator[ChunkSource]:
    """A blob of another repository, to be sent on."""
    async with source.open_blob(blob) as stream:
        yield FromRegistry(stream, blob.digest)


async def _forget(upload: Upload) -> None:
    with trio.move_on_after(_LONGEST_GOODBYE_S, shield=True), suppress(RegistryError):
        # The registry forgets it by itself, some day.
        await upload.abort()
