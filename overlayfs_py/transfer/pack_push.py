"""Pushing the packs of an image's layers beside the image, so that others can pull it lazily.

A pack goes in lz4's high compression, whatever form the store has it in: it is made once and
fetched often, and reads as fast. The same layer makes the same pack, which a registry that has it
is not sent again.
"""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import Digest, digest_of, digest_of_hex, hex_of
from overlayfs_py.packs.from_tar import pack_tar
from overlayfs_py.packs.pack import Pack
from overlayfs_py.packs.values import PackOptions
from overlayfs_py.packs.writer import PackWriter
from overlayfs_py.registry.referrers import put_referrer
from overlayfs_py.registry.uploads import upload_bytes
from overlayfs_py.store.layer_writing import new_file
from overlayfs_py.transfer import pack_artifact
from overlayfs_py.transfer.blob_upload import BlobUpload
from overlayfs_py.transfer.chunk_sources import FromBlob
from overlayfs_py.transfer.layer_tars import read_layer_tar
from overlayfs_py.transfer.pack_artifact import PackBlob
from overlayfs_py.transfer.watch import LayerState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.registry.client import RegistryClient
    from overlayfs_py.registry.repository import Repository
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.transfer.chunk_sources import ChunkSource
    from overlayfs_py.transfer.watch import Watch

LEVEL = 9  # of lz4: 11 % smaller than the quickest, 18 times as long to make
_BLOCK = 1 << 20
_REGULAR, _DIRECTORY = stat.S_IFREG >> 12, stat.S_IFDIR >> 12  # as dirents have them


async def push_packs(
    store: Store,
    client: RegistryClient,
    layers: Iterable[StoredLayer],
    manifest: Manifest,
    reference: Reference,
    watch: Watch,
    used: Sequence[tuple[bytes, ...]] = (),
) -> Manifest:
    """Push the packs of the layers of an image that is there as `manifest`; returns the artifact.

    `used` are the files that a first run has read, in that order.

    Raises:
        CannotSave: a layer has no tar any more.
        RegistryError: the registry does not take it.
    """
    target = client.push_target(reference)
    placed: list[PackBlob] = []
    order: dict[Digest, list[int]] = {}
    with store.add() as addition, addition.scratch_directory() as directory:
        for layer in layers:
            path = directory / hex_of(layer.diff_id)
            watch.layer(_ident(layer), LayerState.PACKING)
            pack = await trio.to_thread.run_sync(_write, layer, path)
            placed.append(pack)
            order[layer.diff_id] = _order_of(path, used)
            await _place(target, layer, pack, path, watch)
            path.unlink()
    listed = await _put_order(target, order)
    await _put_blob(target, pack_artifact.EMPTY)
    artifact = pack_artifact.build(manifest, placed, listed)
    await put_referrer(target, artifact)
    watch.say(f"packs: digest: {artifact.digest} size: {len(artifact.raw)}")
    return artifact


def _write(layer: StoredLayer, path: Path) -> PackBlob:
    with new_file(path) as out:
        writer = PackWriter(out, PackOptions(level=LEVEL))
        pack_tar(map(bytes, read_layer_tar(layer)), writer)
        digest = writer.finish().digest
    state = hashlib.sha256()
    with open(path, "rb") as written:
        while block := written.read(_BLOCK):
            state.update(block)
    with Pack(os.fsencode(path)) as pack:
        footer = pack.footer
    blob = Descriptor(pack_artifact.PACK_TYPE, digest_of_hex(state.hexdigest()), footer.file_size)
    return PackBlob(layer.diff_id, digest_of_hex(digest.hex()), footer.index_offset, blob)


def _order_of(path: Path, files: Sequence[tuple[bytes, ...]]) -> list[int]:
    """The chunks that files lie in, each once."""
    found: dict[int, None] = {}
    with Pack(os.fsencode(path)) as pack:
        for file in files:
            number = _find(pack, file)
            if number is None:
                continue
            for chunk in pack.reader(pack.index.inode(number)).chunks():
                found.setdefault(chunk)
    return list(found)[: pack_artifact.MOST_ORDERED]


def _find(pack: Pack, path: tuple[bytes, ...]) -> int | None:
    """The number of a regular file, None if the layer has none of that path."""
    number = 0
    for at, name in enumerate(path):
        directory = pack.index.directory(number)
        place = pack.index.find(directory, name)
        if place < 0:
            return None
        number, kind = pack.index.dirent(place)
        is_last = at == len(path) - 1
        if kind != (_REGULAR if is_last else _DIRECTORY):
            return None
    return number if path else None


async def _place(
    target: Repository, layer: StoredLayer, pack: PackBlob, path: Path, watch: Watch
) -> None:
    if await target.find_blob(pack.blob.digest) is not None:
        watch.layer(_ident(layer), LayerState.AT_TARGET)
        return
    what = f"{target.name}@{pack.blob.digest}"
    show = partial(_show, watch, layer, pack.blob.size)
    written = await trio.to_thread.run_sync(path.open, "rb")
    with written:
        upload = BlobUpload(target, what, show)
        await upload.send(lambda: _from_start(written), Digest(pack.blob.digest))
    watch.layer(_ident(layer), LayerState.PUSHED)


def _show(watch: Watch, layer: StoredLayer, total: int, position: int) -> None:
    watch.progress(_ident(layer), LayerState.PUSHING, position, max(total, position))


async def _put_order(
    target: Repository, order: Mapping[Digest, Sequence[int]]
) -> Descriptor | None:
    if not any(order.values()):
        return None
    raw = pack_artifact.encode_order(order)
    await _put_blob(target, raw)
    return Descriptor(pack_artifact.ORDER_TYPE, digest_of(raw), len(raw))


async def _put_blob(target: Repository, data: bytes) -> None:
    digest = digest_of(data)
    if await target.find_blob(digest) is None:
        await upload_bytes(target, digest, data)


@asynccontextmanager
async def _from_start(blob: BinaryIO) -> AsyncIterator[ChunkSource]:
    blob.seek(0)
    yield FromBlob(blob)


def _ident(layer: StoredLayer) -> str:
    return hex_of(layer.diff_id)[:12]
