"""Manifests and indexes, Docker's v2.2 and OCI's, with the exact bytes that their digest is of.

Sources: OCI image-spec manifest.md and image-index.md; Docker's image manifest v2, schema 2.
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec looks it up
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image import go_json, media_types
from overlayfs_py.image.descriptor import Descriptor, DescriptorForm
from overlayfs_py.image.digest import Digest, DigestMismatch, digest_of
from overlayfs_py.image.documents import (
    LARGEST_MANIFEST,
    LARGEST_SIZE,
    Document,
    Texts,
    Unread,
    decode,
    texts,
)
from overlayfs_py.image.errors import BadDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.image.go_json import Json
    from overlayfs_py.image.media_types import Kind

_SCHEMA_VERSION = 2
# The kernel's overlayfs stacks at most 500 layers (fs/overlayfs/params.h, OVL_MAX_STACK).
MOST_LAYERS = 500
MOST_IMAGES = 1000  # in one index: a guess, far above what is published


class Manifest(msgspec.Struct, frozen=True):
    """One image, or another artifact: its config and its layers, base first."""

    raw: bytes
    digest: Digest
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    subject: Descriptor | None = None  # what it is about; a signature has one
    artifact_type: str | None = None

    @property
    def is_image(self) -> bool:
        """Whether it can be unpacked and run."""
        return media_types.is_config(self.config.media_type) and all(
            media_types.is_layer(layer.media_type) for layer in self.layers
        )

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(
            self.media_type, self.digest, len(self.raw), artifact_type=self.artifact_type
        )


class Index(msgspec.Struct, frozen=True):
    """Several images, most often one per platform."""

    raw: bytes
    digest: Digest
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    subject: Descriptor | None = None
    artifact_type: str | None = None

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(
            self.media_type, self.digest, len(self.raw), artifact_type=self.artifact_type
        )


class _Form(Document, frozen=True):
    """Both documents at once, so that one which could be read as either is found out."""

    schema_version: int | None = None
    media_type: str | None = None
    artifact_type: str | None = None
    config: DescriptorForm | None = None
    layers: list[DescriptorForm] | None = None
    manifests: list[DescriptorForm] | None = None
    fs_layers: Unread | None = None
    subject: DescriptorForm | None = None
    annotations: Texts | None = None


def parse_manifest(
    raw: bytes, told: str | None, expected: Digest | None = None
) -> Manifest | Index:
    """Return the manifest or the index that `raw` is.

    Args:
        raw: the exact bytes, as they came.
        told: the Content-Type of the answer, or the media type in the descriptor; None if unknown.
        expected: the digest that it was asked for by.

    Raises:
        BadDocument: it is neither, or could be taken for both, or claims what cannot be.
        DigestMismatch: it is not what was asked for.
    """
    digest = digest_of(raw)
    what = f"manifest {digest}"
    if expected is not None and digest != expected:
        raise DigestMismatch("manifest", expected, digest)
    form = decode(raw, _Form, what, LARGEST_MANIFEST)
    if form.schema_version == 1:
        raise BadDocument(what, media_types.SCHEMA_1)
    media_type = media_types.agree(told, form.media_type, what)
    if form.schema_version != _SCHEMA_VERSION:
        raise BadDocument(what, f"schemaVersion is {form.schema_version}, not {_SCHEMA_VERSION}")
    if media_type in media_types.INDEXES:
        return _index(form, raw, digest, media_type)
    return _manifest(form, raw, digest, media_type)


def parse_image_manifest(raw: bytes, told: str | None, expected: Digest | None = None) -> Manifest:
    """Return the manifest that `raw` is, and nothing else; as `parse_manifest`."""
    parsed = parse_manifest(raw, told, expected)
    if isinstance(parsed, Index):
        raise BadDocument(f"manifest {parsed.digest}", "an index where one image was expected")
    return parsed


def _manifest(form: _Form, raw: bytes, digest: Digest, media_type: str) -> Manifest:
    what = f"manifest {digest}"
    if form.manifests is not None or form.fs_layers is not None:
        raise BadDocument(what, f"{media_type} with the fields of another kind of document")
    if form.config is None:
        raise BadDocument(what, "it has no config")
    if form.layers is None:
        raise BadDocument(what, "it has no layers")
    if len(form.layers) > MOST_LAYERS:
        raise BadDocument(what, f"{len(form.layers)} layers, more than {MOST_LAYERS}")
    layers = tuple(layer.value(what) for layer in form.layers)
    if sum(layer.size for layer in layers) > LARGEST_SIZE:
        raise BadDocument(what, "the sizes of its layers overflow")
    return Manifest(
        raw,
        digest,
        media_type,
        form.config.value(what, needs_type=False),
        layers,
        texts(form.annotations),
        None if form.subject is None else form.subject.value(what),
        form.artifact_type,
    )


def _index(form: _Form, raw: bytes, digest: Digest, media_type: str) -> Index:
    what = f"index {digest}"
    if form.config is not None or form.layers is not None or form.fs_layers is not None:
        raise BadDocument(what, f"{media_type} with the fields of another kind of document")
    if form.manifests is None:
        raise BadDocument(what, "it has no manifests")
    if len(form.manifests) > MOST_IMAGES:
        raise BadDocument(what, f"{len(form.manifests)} images, more than {MOST_IMAGES}")
    return Index(
        raw,
        digest,
        media_type,
        tuple(manifest.value(what) for manifest in form.manifests),
        texts(form.annotations),
        None if form.subject is None else form.subject.value(what),
        form.artifact_type,
    )


def build_manifest(
    kind: Kind,
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str | None = None,
) -> Manifest:
    """Return a new manifest: the same arguments always give the same bytes."""
    raw = _document(
        kind.manifest,
        artifact_type,
        {"config": config.to_json(), "layers": [layer.to_json() for layer in layers]},
        subject,
        annotations,
    )
    return parse_image_manifest(raw, kind.manifest)


def build_index(
    kind: Kind,
    manifests: Sequence[Descriptor],
    *,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str | None = None,
) -> Index:
    """Return a new index: the same arguments always give the same bytes."""
    raw = _document(
        kind.index,
        artifact_type,
        {"manifests": [manifest.to_json() for manifest in manifests]},
        subject,
        annotations,
    )
    parsed = parse_manifest(raw, kind.index)
    assert isinstance(parsed, Index)
    return parsed


def _document(
    media_type: str,
    artifact_type: str | None,
    content: dict[str, Json],
    subject: Descriptor | None,
    annotations: Mapping[str, str] | None,
) -> bytes:
    """The order of fields is that of image-spec's Go types."""
    fields: dict[str, Json] = {"schemaVersion": _SCHEMA_VERSION, "mediaType": media_type}
    if artifact_type is not None:
        fields["artifactType"] = artifact_type
    fields |= content
    if subject is not None:
        fields["subject"] = subject.to_json()
    if annotations:
        fields["annotations"] = go_json.sorted_map(annotations)
    return go_json.compact_bytes(fields)
