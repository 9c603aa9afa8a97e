"""Artifacts: a manifest with a config and blobs that are no image, in a registry or a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from overlayfs_py.image.documents import LARGEST_CONFIG
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.manifest import Manifest

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.manifest import Index
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.stored_layer import StoredLayer


class Artifact(NamedTuple):
    """What a place has under its name."""

    manifest: Manifest
    config: bytes


class PutLayer(NamedTuple):
    """A layer that a place has now."""

    blob: Descriptor
    is_new: bool  # it was not there before


class OpenPlace(Protocol):
    """A place that answers. Every method raises OSError, naming what cannot be had or put."""

    async def read(self) -> Artifact:
        """Return the artifact; its digests have been checked."""

    async def read_blob(self, blob: Descriptor, largest: int) -> bytes:
        """Return a small blob whole."""

    async def bring_layer(self, blob: Descriptor, diff_id: Digest, addition: Addition) -> bool:
        """Bring a layer into the store, which checks it; False if it was there already."""

    async def has_blob(self, digest: Digest) -> bool:
        """Whether a blob is there."""

    async def put_layer(self, layer: StoredLayer, addition: Addition) -> PutLayer:
        """Put a layer there, as the blob that it is there already if it is."""

    async def put_blob(self, data: bytes) -> bool:
        """Put a small blob there; False if it was there already."""

    async def put_manifest(self, manifest: Manifest) -> None:
        """Put the manifest there, once all that it names is there: the last step."""


class ArtifactPlace(Protocol):
    """Where one artifact is, or is to be."""

    @property
    def name(self) -> str:
        """What messages call it."""

    def open(self) -> AbstractAsyncContextManager[OpenPlace]:
        """Begin to speak to it."""


def require_artifact(parsed: Manifest | Index, config_type: str, name: str) -> Manifest:
    """Return the manifest of an artifact of ours.

    Raises:
        BadDocument: it is something else.
    """
    if not isinstance(parsed, Manifest):
        raise BadDocument(name, f"an index, and no {config_type}")
    if parsed.config.media_type != config_type:
        raise BadDocument(name, f"{parsed.config.media_type!r}, and no {config_type}")
    if parsed.config.size > LARGEST_CONFIG:
        raise BadDocument(name, f"its config has {parsed.config.size} bytes: too many")
    return parsed
