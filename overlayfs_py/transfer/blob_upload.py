"""One blob on its way into a repository, wherever its bytes come from."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import trio

from overlayfs_py.registry.errors import Denied, RegistryError
from overlayfs_py.registry.uploads import Upload, UploadLost
from overlayfs_py.transfer.chunk_sources import FromRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.transfer.chunk_sources import ChunkSource

    OpenSource = Callable[[], AbstractAsyncContextManager[ChunkSource]]

_UPLOADS = 3  # from the start, where a registry forgets one
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
        except Denied:
            return False  # to read from there; to write here is asked for again
        await upload.abort()
        return False

    async def send(self, open_source: OpenSource, want: Digest | None) -> Sent | None:
        """Upload what has the digest `want`, if it is not None; None: it had another."""
        for tries_left in range(_UPLOADS - 1, -1, -1):
            upload = Upload(self._target, self.what)
            await upload.begin()
            try:
                async with open_source() as source:
                    return await self._send_all(source, upload, want)
            except UploadLost:
                if not tries_left:
                    raise
            except BaseException:
                await _forget(upload)
                raise
        raise AssertionError("the last try raises or returns")

    async def _send_all(
        self, source: ChunkSource, upload: Upload, want: Digest | None
    ) -> Sent | None:
        size = upload.chunk_bytes
        chunk = await source.next_chunk(size)
        sent = len(chunk)
        while following := await source.next_chunk(size):
            await self._send_chunk(upload, chunk)
            chunk = following
            sent += len(chunk)
        if want not in (None, source.digest):
            await _forget(upload)
            return None
        if upload.position:
            await self._send_chunk(upload, chunk)
            chunk = b""
        await upload.finish(source.digest, chunk)
        return Sent(source.digest, sent)

    async def _send_chunk(self, upload: Upload, chunk: bytes) -> None:
        await upload.send(chunk)
        self._on_bytes(upload.position)


@asynccontextmanager
async def fetched(source: Repository, blob: Descriptor) -> AsyncIterator[ChunkSource]:
    """A blob of another repository, to be sent on."""
    async with source.open_blob(blob) as stream:
        yield FromRegistry(stream, blob.digest)


async def _forget(upload: Upload) -> None:
    with trio.move_on_after(_LONGEST_GOODBYE_S, shield=True), suppress(RegistryError):
        # The registry forgets it by itself, some day.
        await upload.abort()
