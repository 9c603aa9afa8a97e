"""Images to an archive: Docker's, an OCI layout in a tar, or one in a directory.

All are written as a stream: the sizes of layers are known before they are read. Layers are written
uncompressed, each once, however many images have it; so an OCI layout has a manifest of its own,
while the config, and with it the image's ID, stays.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.image import go_json
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of, hex_of
from overlayfs_py.image.manifest import build_index, build_manifest
from overlayfs_py.image.media_types import OCI_CONFIG, OCI_LAYER, Kind
from overlayfs_py.transfer.layer_tars import read_layer_tar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import StoredLayer
    from overlayfs_py.transfer.sinks import Sink

_LAYOUT = {"imageLayoutVersion": "1.0.0"}
_REFERENCE = "org.opencontainers.image.ref.name"
_FULL_NAME = "io.containerd.image.name"


class ArchiveFormat(Enum):
    """What to write."""

    DOCKER = "docker-archive"
    OCI = "oci-archive"
    OCI_DIRECTORY = "oci-dir"


class Wanted:
    """Images to save, each with the names that it gets in the archive."""

    def __init__(self) -> None:
        self._images: dict[str, StoredImage] = {}
        self._names: defaultdict[str, dict[Reference, None]] = defaultdict(dict)

    def add(self, image: StoredImage, reference: Reference | None) -> None:
        """Save an image, under a name if it was asked for by one."""
        self._images.setdefault(image.image_id, image)
        if reference is not None and reference.tag is not None:
            self._names[image.image_id][replace(reference, digest=None)] = None

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


def save_oci(wanted: Wanted, sink: Sink) -> None:
    """Write an OCI layout; raises as `save_docker`."""
    _put(sink, "oci-layout", go_json.compact_bytes(_LAYOUT))
    for layer in wanted.layers():
        _put_layer(sink, f"blobs/sha256/{hex_of(layer.diff_id)}", layer)
    descriptors: list[Descriptor] = []
    for image, references in wanted:
        manifest = _uncompressed(image)
        _put_blob(sink, image.config.raw)
        _put_blob(sink, manifest.raw)
        descriptors += _named(manifest, references)
    _put(sink, "index.json", build_index(Kind.OCI, descriptors).raw)
    sink.finish()


def _uncompressed(image: StoredImage) -> Manifest:
    """The manifest of an image whose blobs are its tars."""
    layers = [Descriptor(OCI_LAYER, layer.diff_id, layer.record.tar_size) for layer in image.layers]
    config = Descriptor(OCI_CONFIG, image.image_id, len(image.config.raw))
    return build_manifest(Kind.OCI, config, layers, annotations=image.manifest.annotations)


def _named(manifest: Manifest, references: Sequence[Reference]) -> Iterator[Descriptor]:
    """One descriptor per name: an annotation holds only one."""
    if not references:
        yield manifest.descriptor
    for reference in references:
        names = {_FULL_NAME: reference.canonical, _REFERENCE: reference.canonical}
        yield replace(manifest.descriptor, annotations=names)


def _put_blob(sink: Sink, data: bytes) -> None:
    _put(sink, f"blobs/sha256/{hex_of(digest_of(data))}", data)


def _put(sink: Sink, name: str, data: bytes) -> None:
    sink.put(name, len(data), (data,))


def _put_layer(sink: Sink, name: str, layer: StoredLayer) -> None:
    sink.put(name, layer.record.tar_size, read_layer_tar(layer))
