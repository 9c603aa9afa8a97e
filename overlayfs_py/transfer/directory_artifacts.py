"""An artifact in a directory: an OCI layout, whose index.json gives it a tag.

What is written appears by renames, index.json last. What the artifact before had under the same
tag, and nothing in index.json has any more, is removed.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import stat
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import trio
from msgspec import structs

from overlayfs_py.errors import OverlayError
from overlayfs_py.image import go_json
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import Digest, DigestMismatch, digest_of, digest_of_hex, hex_of
from overlayfs_py.image.documents import LARGEST_CONFIG, LARGEST_MANIFEST
from overlayfs_py.image.manifest import Index, Manifest, build_index, parse_manifest
from overlayfs_py.image.media_types import OCI_INDEX, OCI_LAYER_GZIP, Kind
from overlayfs_py.store import durable
from overlayfs_py.store.layer_writing import write_layer
from overlayfs_py.store.records import LayerBlob
from overlayfs_py.store.stored_layer import StoredLayer
from overlayfs_py.syscalls.rooted import open_in_root
from overlayfs_py.tars.engines import Compression
from overlayfs_py.transfer.archive import read_blocks
from overlayfs_py.transfer.artifacts import Artifact, PutLayer, require_artifact
from overlayfs_py.transfer.chunk_sources import compressed_tar
from overlayfs_py.transfer.failures import BadArchive
from overlayfs_py.transfer.layer_tars import read_layer_tar
from overlayfs_py.transfer.layer_upload import LEVEL, RECIPE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.store.additions import Addition

_LAYOUT = go_json.compact_bytes({"imageLayoutVersion": "1.0.0"})
_INDEX = "index.json"
_BLOBS = "blobs/sha256"
_TAG = "org.opencontainers.image.ref.name"
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """A tag of an OCI layout."""

    path: Path
    tag: str
    config_type: str  # of the artifacts that are read

    @property
    def name(self) -> str:
        return str(self.path)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[OpenDirectory]:
        yield OpenDirectory(self)


class OpenDirectory:
    """A layout that is looked at; no link in it leads out of it."""

    def __init__(self, place: DirectoryPlace) -> None:
        self._place = place
        self._path = place.path

    async def read(self) -> Artifact:
        return await trio.to_thread.run_sync(self._read)

    async def read_blob(self, blob: Descriptor, largest: int) -> bytes:
        return await trio.to_thread.run_sync(self._blob, blob, largest)

    async def bring_layer(self, blob: Descriptor, diff_id: Digest, addition: Addition) -> bool:
        return await trio.to_thread.run_sync(self._bring, blob, diff_id, addition)

    async def has_blob(self, digest: Digest) -> bool:
        return self._place_of(digest).is_file()

    async def put_layer(self, layer: StoredLayer, addition: Addition) -> PutLayer:
        return await trio.to_thread.run_sync(self._put_layer, layer, addition)

    async def put_blob(self, data: bytes) -> bool:
        return await trio.to_thread.run_sync(self._put_blob, data)

    async def put_manifest(self, manifest: Manifest) -> None:
        await trio.to_thread.run_sync(self._put_manifest, manifest)

    # Reading.

    def _read(self) -> Artifact:
        index = self._index()
        found = [each for each in index.manifests if each.annotations.get(_TAG) == self._place.tag]
        if not found:
            raise BadArchive(
                self._place.name, f"nothing in its {_INDEX} has the tag {self._place.tag}"
            )
        raw = self._blob(found[-1], LARGEST_MANIFEST)
        parsed = parse_manifest(raw, found[-1].media_type, found[-1].digest)
        manifest = require_artifact(parsed, self._place.config_type, self._place.name)
        return Artifact(manifest, self._blob(manifest.config, LARGEST_CONFIG))

    def _index(self) -> Index:
        with self._open(_INDEX) as file:
            parsed = parse_manifest(file.read(LARGEST_MANIFEST + 1), OCI_INDEX)
        if not isinstance(parsed, Index):
            raise BadArchive(self._place.name, f"{_INDEX}: not an index")
        return parsed

    def _blob(self, blob: Descriptor, largest: int) -> bytes:
        name = f"{_BLOBS}/{hex_of(blob.digest)}"
        with self._open(name) as file:
            raw = file.read(min(blob.size, largest) + 1)
        if len(raw) != blob.size:
            raise BadArchive(str(self._path / name), f"is said to have {blob.size} bytes")
        if digest_of(raw) != blob.digest:
            raise DigestMismatch(str(self._path / name), blob.digest, digest_of(raw))
        return raw

    def _bring(self, blob: Descriptor, diff_id: Digest, addition: Addition) -> bool:
        name = f"{_BLOBS}/{hex_of(blob.digest)}"
        with addition.ingest_layer(diff_id) as ingest:
            if isinstance(ingest, StoredLayer):
                return False
            with self._open(name) as file:
                facts, packed = write_layer(ingest, read_blocks(file))
            got = digest_of_hex(packed.blob_sha256.hex())
            if got != blob.digest:
                raise DigestMismatch(str(self._path / name), blob.digest, got)
            known = LayerBlob(digest=blob.digest, size=blob.size, media_type=blob.media_type)
            addition.commit_layer(ingest, structs.replace(facts, blob=known))
        return True

    def _open(self, name: str) -> BinaryIO:
        """Open a regular file below the directory, whatever links are in it."""
        with ExitStack() as stack:
            try:
                root_fd = os.open(self._path, _DIRECTORY)
                stack.callback(os.close, root_fd)
                fd = open_in_root(root_fd, name.encode(), _READ)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(self._path / name)) from None
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                os.close(fd)
                raise BadArchive(str(self._path / name), "not a regular file")
            return open(fd, "rb", buffering=0)

    # Writing.

    def _put_layer(self, layer: StoredLayer, addition: Addition) -> PutLayer:
        for known in layer.record.blobs:
            if self._place_of(Digest(known.digest)).is_file():
                blob = Descriptor(known.media_type, Digest(known.digest), known.size)
                return PutLayer(blob, is_new=False)
        self._make_directories()
        temporary = self._path / _BLOBS / f".{hex_of(layer.diff_id)}.{os.getpid()}"
        state, size = sha256(), 0
        try:
            with temporary.open("wb") as out:
                for block in compressed_tar(read_layer_tar(layer), Compression.GZIP, LEVEL):
                    out.write(block)
                    state.update(block)
                    size += len(block)
                out.flush()
                os.fsync(out.fileno())
            digest = digest_of_hex(state.hexdigest())
            is_new = not self._place_of(digest).is_file()
            temporary.rename(self._place_of(digest))
        finally:
            temporary.unlink(missing_ok=True)
        found = LayerBlob(digest=digest, size=size, media_type=OCI_LAYER_GZIP, recipe=RECIPE)
        addition.note_blob(layer.diff_id, found)
        return PutLayer(Descriptor(OCI_LAYER_GZIP, digest, size), is_new)

    def _put_blob(self, data: bytes) -> bool:
        place = self._place_of(digest_of(data))
        if place.is_file():
            return False
        self._make_directories()
        durable.write_file(place, data, place.parent)
        return True

    def _put_manifest(self, manifest: Manifest) -> None:
        self._put_blob(manifest.raw)
        root_fd = os.open(self._path, _DIRECTORY)
        try:
            fcntl.flock(root_fd, fcntl.LOCK_EX)  # of two that write at once both tags stay
            self._name(manifest)
        finally:
            os.close(root_fd)

    def _name(self, manifest: Manifest) -> None:
        layout = self._path / "oci-layout"
        if not layout.exists():
            durable.write_file(layout, _LAYOUT, self._path)
        try:
            known = self._index().manifests
        except FileNotFoundError:
            known = ()
        others = [each for each in known if each.annotations.get(_TAG) != self._place.tag]
        named = structs.replace(manifest.descriptor, annotations={_TAG: self._place.tag})
        index = build_index(Kind.OCI, [*others, named])
        durable.write_file(self._path / _INDEX, index.raw, self._path)
        replaced = [each for each in known if each not in others]
        self._remove_unused(replaced, [*others, named])

    def _remove_unused(self, old: list[Descriptor], now: list[Descriptor]) -> None:
        try:
            needed = {digest for each in now for digest in self._needed_by(each)}
        except OverlayError:
            return  # of another tag's nobody can say what it needs
        for each in old:
            with suppress(OverlayError):  # what cannot be read has no blobs that are known
                for digest in self._needed_by(each) - needed:
                    self._place_of(digest).unlink(missing_ok=True)

    def _needed_by(self, named: Descriptor) -> set[Digest]:
        raw = self._blob(named, LARGEST_MANIFEST)
        parsed = parse_manifest(raw, named.media_type, named.digest)
        if isinstance(parsed, Index):
            lists = (self._needed_by(each) for each in parsed.manifests)
            return functools.reduce(set.union, lists, {named.digest})
        return {named.digest, parsed.config.digest, *(layer.digest for layer in parsed.layers)}

    def _make_directories(self) -> None:
        (self._path / _BLOBS).mkdir(parents=True, exist_ok=True)
        if not os.access(self._path, os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(self._path))

    def _place_of(self, digest: Digest) -> Path:
        return self._path / _BLOBS / hex_of(digest)
