"""Images to an archive: Docker's, an OCI layout in a tar, or one in a directory.

All are written as a stream: the sizes of layers are known before they are read. Layers are written
uncompressed, each once, however many images have it; so an OCI layout has a manifest of its own,
while the config, and with it the image's ID, stays. Where the store kept the compressed blobs, an
OCI layout has those, and the manifest that the image came with.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.image import go_json
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of, hex_of
from overlayfs_py.image.manifest import build_index, build_manifest
from overlayfs_py.image.media_types import (
    OCI_CONFIG,
    OCI_LAYER,
    Kind,
    compression_of,
    kind_of,
)
from overlayfs_py.transfer.layer_tars import read_layer_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.transfer.sinks import Sink

    OpenBlob = Callable[[Digest], BinaryIO | None]

_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_REFERENCE = "org.opencontainers.image.ref.name"
_STEP = 1 << 20
_FULL_NAME = "io.containerd.image.name"


class Wanted:
    """Images to save, each with the names that it gets in the archive."""

    def __init__(self) -> None:
        self._images: dict[str, StoredImage] = {}
        self._names: defaultdict[str, dict[Reference, None]] = defaultdict(dict)

    def add(self, image: StoredImage, reference: Reference | None) -> None:
        """Save an image, under a name if it was asked for by one."""
        self._images.setdefault(image.image_id, image)
        if reference is not None and reference.tag is not None:
            self._names[image.image_id][structs.replace(reference, digest=None)] = None

    def __iter__(self) -> Iterator[tuple[StoredImage, list[Reference]]]:
        for image_id, image in self._images.items():
            yield image, list(self._names[image_id])

    def layers(self) -> list[StoredLayer]:
        """All layers, each once."""
        every = itertools.chain.from_iterable(image.layers for image in self._images.values())
        return list({layer.diff_id: layer for layer in every}.values())


def save_docker(wanted: Wanted, sink: Sink) -> None:
    """Write what `docker load`, podman and skopeo read as a docker-archive.

    Raises:
        CannotSave, CorruptLayer: a layer cannot be written; the archive is useless then.
        OSError: from the sink.
    """
    for layer in wanted.layers():
        _put_layer(sink, f"{hex_of(layer.diff_id)}.tar", layer)
    entries: list[go_json.Json] = []
    for image, references in wanted:
        config = f"{hex_of(image.image_id)}.json"
        _put(sink, config, image.config.raw)
        entries.append(
            {
                "Config": config,
                "RepoTags": [reference.familiar for reference in references],
                "Layers": [f"{hex_of(layer.diff_id)}.tar" for layer in image.layers],
            }
        )
    _put(sink, "manifest.json", go_json.compact_bytes(entries))
    sink.finish()


def save_oci(wanted: Wanted, sink: Sink, open_blob: OpenBlob) -> None:
    """Write an OCI layout; `open_blob` gives what the store kept; raises as `save_docker`."""
    _put(sink, "oci-layout", go_json.compact_bytes(_LAYOUT))
    descriptors: list[Descriptor] = []
    for image, references in wanted:
        manifest = _manifest(image, _put_layers(sink, image, open_blob))
        _put_blob(sink, image.config.raw)
        _put_blob(sink, manifest.raw)
        descriptors += _named(manifest, references)
    _put(sink, "index.json", build_index(Kind.OCI, descriptors).raw)
    sink.finish()


def _put_layers(sink: Sink, image: StoredImage, open_blob: OpenBlob) -> list[Descriptor]:
    """Write an image's layers as they are here; returns what they are in the archive."""
    written = []
    for layer, blob in zip(image.layers, image.manifest.layers, strict=True):
        kept = open_blob(blob.digest)
        if kept is None:
            _put_layer(sink, f"blobs/sha256/{hex_of(layer.diff_id)}", layer)
            written.append(Descriptor(OCI_LAYER, layer.diff_id, layer.record.tar_size))
            continue
        with kept:
            pieces = iter(functools.partial(kept.read, _STEP), b"")
            sink.put(f"blobs/sha256/{hex_of(blob.digest)}", blob.size, pieces)
        media_type = Kind.OCI.layer(compression_of(blob.media_type))
        written.append(Descriptor(media_type, blob.digest, blob.size))
    return written


def _manifest(image: StoredImage, layers: Sequence[Descriptor]) -> Manifest:
    """The image's own manifest if it is OCI's and names these layers, or else one that does."""
    came_with = image.manifest
    are_its_own = [each.digest for each in layers] == [each.digest for each in came_with.layers]
    if are_its_own and kind_of(came_with.media_type) is Kind.OCI:
        return came_with
    config = Descriptor(OCI_CONFIG, image.image_id, len(image.config.raw))
    return build_manifest(Kind.OCI, config, layers, annotations=image.manifest.annotations)


def _named(manifest: Manifest, references: Sequence[Reference]) -> Iterator[Descriptor]:
    """One descriptor per name: an annotation holds only one."""
    if not references:
        yield manifest.descriptor
    for reference in references:
        names = {_FULL_NAME: reference.canonical, _REFERENCE: reference.canonical}
        yield structs.replace(manifest.descriptor, annotations=names)


def _put_blob(sink: Sink, data: bytes) -> None:
    _put(sink, f"blobs/sha256/{hex_of(digest_of(data))}", data)


def _put(sink: Sink, name: str, data: bytes) -> None:
    sink.put(name, len(data), (data,))


def _put_layer(sink: Sink, name: str, layer: StoredLayer) -> None:
    sink.put(name, layer.record.tar_size, read_layer_tar(layer))
