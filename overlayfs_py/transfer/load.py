"""Images from an archive: of `docker save` and `podman save`, an OCI layout, or both in one.

Plan: one pass, so that a pipe will do. Names come last in most archives, so each file is judged by
its beginning: what is a tar, compressed or not, goes straight into the store as a layer; small
documents are kept in memory; everything else is passed over. Then the documents say which layers
make an image. What no image of the archive needs is collected later, like any other rubbish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.image.config import parse_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import DigestMismatch
from overlayfs_py.image.manifest import Index, Manifest, build_manifest
from overlayfs_py.image.media_types import DOCKER_CONFIG, DOCKER_LAYER, Kind
from overlayfs_py.image.platform import choose
from overlayfs_py.store.failures import NotInStore
from overlayfs_py.store.records import Form, LayerBlob
from overlayfs_py.transfer.archive_contents import read_contents
from overlayfs_py.transfer.archive_documents import parse_docker_list
from overlayfs_py.transfer.failures import BadArchive
from overlayfs_py.transfer.layout_choice import chosen_images, manifest_in
from overlayfs_py.transfer.old_archive import old_images

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from overlayfs_py.image.config import ImageConfig
    from overlayfs_py.image.platform import Platform
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.transfer.archive import ArchiveFile, ArchiveLink
    from overlayfs_py.transfer.archive_contents import Contents

    Name = tuple[bytes, ...]


_DEEPEST_INDEX = 3  # an index may list an index (OCI image-spec image-index.md)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image that was loaded."""

    image: StoredImage
    references: tuple[Reference, ...]  # what the archive calls it


@dataclass(frozen=True, slots=True)
class _Found:
    """An image of an archive, all of whose parts are in the store."""

    manifest: Manifest
    config: ImageConfig
    references: tuple[Reference, ...]
    index: Index | None = None


def load(
    store: Store,
    files: Iterable[ArchiveFile | ArchiveLink],
    platform: Platform,
    archive: str,
    form: Form = Form.PACK,
) -> list[Loaded]:
    """Add all images of an archive, under the names that it gives them.

    Args:
        store: where to.
        files: what the archive holds, in any order: `read_archive`, `read_directory`.
        platform: which image of an index, where the archive has several.
        archive: what to call it in errors.
        form: how to keep the layers.

    Raises:
        BadArchive: it holds no image, or a part of one is missing.
        BadTar, BadDocument, DigestMismatch: a part of an image is damaged.
    """
    with store.add() as addition:
        contents = read_contents(files, addition, archive, form)
        found = list(_images(contents, platform, addition))
        if not found:
            raise BadArchive(archive, "there is no image in it")
        return [_add(store, addition, image) for image in found]


def _images(contents: Contents, platform: Platform, addition: Addition) -> Iterator[_Found]:
    """The images of an archive; one in both forms is taken in OCI's, which has its manifest."""
    listed = contents.document(b"manifest.json")
    docker = parse_docker_list(listed, contents.archive)
    layout = contents.document(b"index.json")
    if layout is None:
        for image in docker:
            raw = contents.require_document(image.config)
            yield _docker_image(contents, raw, image.layers, image.references)
        if listed is None:
            for old in old_images(contents):
                yield _docker_image(contents, *old)
        return
    names = {contents.digest_of_config(image): image.references for image in docker}
    for descriptor, references in chosen_images(contents, layout, platform):
        found = _oci_image(contents, descriptor, platform, addition)
        if found is not None:
            more = names.get(found.config.image_id, ())
            both = tuple(dict.fromkeys((*references, *more)))
            yield _Found(found.manifest, found.config, both, found.index)


def _oci_image(
    contents: Contents, descriptor: Descriptor, platform: Platform, addition: Addition
) -> _Found | None:
    """The image that a descriptor of a layout means; None for what is no image."""
    parsed = manifest_in(contents, descriptor)
    index = parsed if isinstance(parsed, Index) else None
    for _ in range(_DEEPEST_INDEX):
        if isinstance(parsed, Manifest):
            break
        # An archive of one image often has the whole index, and the blobs of that image alone.
        there = [image for image in parsed.manifests if contents.blob(image.digest) is not None]
        parsed = manifest_in(contents, choose(there, platform))
    if isinstance(parsed, Index):
        raise BadArchive(contents.archive, f"{parsed.digest}: an index of indexes of indexes")
    if not parsed.is_image:
        return None
    config = parse_config(contents.require_blob(parsed.config.digest), parsed.config.digest)
    layers = [contents.layer_of_blob(layer.digest) for layer in parsed.layers]
    _require_layers(contents, config, layers)
    for layer, blob in zip(layers, parsed.layers, strict=True):
        known = LayerBlob(digest=blob.digest, size=blob.size, media_type=blob.media_type)
        addition.note_blob(layer.diff_id, known)
    return _Found(parsed, config, (), index)


def _docker_image(
    contents: Contents, raw: bytes, names: Sequence[Name], references: tuple[Reference, ...]
) -> _Found:
    config = parse_config(raw)
    layers = [contents.layer(name) for name in names]
    _require_layers(contents, config, layers)
    # The archive has no manifest. This one is the same however the archive has the layers.
    manifest = build_manifest(
        Kind.DOCKER,
        Descriptor(DOCKER_CONFIG, config.image_id, len(raw)),
        [Descriptor(DOCKER_LAYER, layer.diff_id, layer.record.tar_size) for layer in layers],
    )
    return _Found(manifest, config, references)


def _require_layers(contents: Contents, config: ImageConfig, layers: Sequence[StoredLayer]) -> None:
    if len(layers) != len(config.diff_ids):
        why = f"image {config.image_id} has {len(config.diff_ids)} layers, there are {len(layers)}"
        raise BadArchive(contents.archive, why)
    for layer, diff_id in zip(layers, config.diff_ids, strict=True):
        if layer.diff_id != diff_id:
            raise DigestMismatch(f"{contents.archive}: layer", diff_id, layer.diff_id)


def _add(store: Store, addition: Addition, found: _Found) -> Loaded:
    known = _known(store, found)
    if known is not None:
        image = addition.add_image(known.manifest, references=found.references)
        return Loaded(image, found.references)
    index = found.index
    for raw in (found.config.raw, found.manifest.raw, *((index.raw,) if index else ())):
        addition.put_blob(raw)
    digest = None if index is None else index.digest
    image = addition.add_image(found.manifest, references=found.references, index=digest)
    return Loaded(image, found.references)


def _known(store: Store, found: _Found) -> StoredImage | None:
    """The image that the store has under the same ID, if the archive's manifest says no more.

    One of uncompressed layers was made for the archive, and no registry has it.
    """
    if [layer.digest for layer in found.manifest.layers] != [*found.config.diff_ids]:
        return None
    try:
        return store.image(found.config.image_id)
    except NotInStore:
        return None
