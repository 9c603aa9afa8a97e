"""Where an upload's bytes come from, chunk by chunk."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Protocol

import trio

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import digest_of_hex
from overlayfs_py.tars.engines import compressor
from overlayfs_py.transfer.layer_tars import read_layer_tar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from typing import BinaryIO

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.registry.blob_stream import BlobStream
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.tars.engines import Compression


class SourceFailed(OverlayError):
    """Where a blob is fetched from did not give it: the repository that it goes to is well."""

    def __init__(self, cause: OverlayError) -> None:
        super().__init__(cause.errno, str(cause.strerror), cause.filename)
        self.exit_code = cause.exit_code


class ChunkSource(Protocol):
    """The bytes of a blob, once."""

    async def next_chunk(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""

    @property
    def digest(self) -> Digest:
        """Of all bytes, when all have been returned."""


class FromLayer:
    """A layer of the store, made a tar and compressed in threads. The same one gives the same."""

    def __init__(self, layer: StoredLayer, compression: Compression, level: int | None) -> None:
        self._blocks = compressed_tar(read_layer_tar(layer), compression, level)
        self._gathered = bytearray()
        self._state = hashlib.sha256()

    async def next_chunk(self, size: int) -> bytes:
        return await trio.to_thread.run_sync(self._take, size)

    @property
    def digest(self) -> Digest:
        return digest_of_hex(self._state.hexdigest())

    def close(self) -> None:
        """Let go of the layer."""
        self._blocks.close()

    def _take(self, size: int) -> bytes:
        while len(self._gathered) < size and (block := next(self._blocks, b"")):
            self._gathered += block
        chunk = bytes(self._gathered[:size])
        del self._gathered[:size]
        self._state.update(chunk)
        return chunk


class FromBlob:
    """A blob of the store, checked at its end: it goes nowhere if it is damaged."""

    def __init__(self, blob: BinaryIO) -> None:
        self._blob = blob
        self._state = hashlib.sha256()

    async def next_chunk(self, size: int) -> bytes:
        return await trio.to_thread.run_sync(self._take, size)

    @property
    def digest(self) -> Digest:
        return digest_of_hex(self._state.hexdigest())

    def _take(self, size: int) -> bytes:
        chunk = self._blob.read(size)
        self._state.update(chunk)
        return chunk


class FromRegistry:
    """A blob of another repository, checked at its end."""

    def __init__(self, stream: BlobStream, digest: Digest) -> None:
        self._stream = stream
        self._digest = digest
        self._gathered = bytearray()

    async def next_chunk(self, size: int) -> bytes:
        try:
            while len(self._gathered) < size and (piece := await self._stream.receive_some()):
                self._gathered += piece
        except OverlayError as error:
            raise SourceFailed(error) from error
        chunk = bytes(self._gathered[:size])
        del self._gathered[:size]
        return chunk

    @property
    def digest(self) -> Digest:
        return self._digest


def compressed_tar(
    tar: Iterable[bytes | memoryview], compression: Compression, level: int | None
) -> Generator[bytes, None, None]:
    """Yield the compressed tar, no block empty."""
    engine = compressor(compression, level)
    for piece in tar:
        if block := engine.compress(bytes(piece)):
            yield block
    if block := engine.flush():
        yield block
