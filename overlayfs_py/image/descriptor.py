"""Descriptors: a blob's media type, digest and size (OCI image-spec, descriptor.md)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping  # noqa: TC003 - msgspec looks it up
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image import go_json, media_types
from overlayfs_py.image.digest import Digest, digest_of
from overlayfs_py.image.documents import Document, Size, Texts, digest_in, texts
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.platform import Platform

if TYPE_CHECKING:
    from overlayfs_py.image.go_json import Json


# What buildkit says of the attestations that it puts beside images.
_ATTESTATION = "vnd.docker.reference.type"


class Descriptor(msgspec.Struct, frozen=True):
    """What a manifest says of a blob. `data`, if there, is the blob itself and has been checked."""

    media_type: str
    digest: Digest
    size: int  # of the blob as it is stored, in bytes
    platform: Platform | None = None
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    urls: tuple[str, ...] = ()
    artifact_type: str | None = None
    data: bytes | None = None

    @property
    def is_manifest(self) -> bool:
        return self.media_type in media_types.MANIFESTS

    @property
    def may_run(self) -> bool:
        """Whether it may be an image, and not what an index lists about one."""
        return (
            self.is_manifest and self.artifact_type is None and _ATTESTATION not in self.annotations
        )

    def to_json(self) -> dict[str, Json]:
        """The fields in the order of the specification's Go types, which others write them in."""
        fields: dict[str, Json] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
            "urls": list(self.urls),
            "annotations": go_json.sorted_map(self.annotations),
            "data": None if self.data is None else base64.b64encode(self.data).decode(),
            "platform": None if self.platform is None else _platform_json(self.platform),
            "artifactType": self.artifact_type,
        }
        # `size` may be 0, the others have no empty value that says anything.
        return {name: value for name, value in fields.items() if value or name == "size"}


class PlatformForm(Document, frozen=True):
    """`platform` of a descriptor."""

    architecture: str | None = None
    os: str | None = None
    os_version: str | None = msgspec.field(default=None, name="os.version")
    os_features: list[str] | None = msgspec.field(default=None, name="os.features")
    variant: str | None = None

    def value(self) -> Platform:
        return Platform(
            self.os or "",
            self.architecture or "",
            self.variant or "",
            self.os_version or "",
            tuple(self.os_features or ()),
        )


class DescriptorForm(Document, frozen=True):
    """A descriptor as JSON has it."""

    digest: str
    size: Size
    media_type: str | None = None
    platform: PlatformForm | None = None
    annotations: Texts | None = None
    urls: list[str] | None = None
    artifact_type: str | None = None
    data: str | None = None

    def value(self, what: str, *, needs_type: bool = True) -> Descriptor:
        """The descriptor, checked; `what` names the document that it stands in."""
        if needs_type and not self.media_type:
            raise BadDocument(what, f"the descriptor of {self.digest!r} has no mediaType")
        digest = digest_in(self.digest, what)
        return Descriptor(
            self.media_type or "",
            digest,
            self.size,
            None if self.platform is None else self.platform.value(),
            texts(self.annotations),
            tuple(self.urls or ()),
            self.artifact_type,
            None if self.data is None else _embedded(self.data, digest, self.size, what),
        )


def describe(data: bytes, media_type: str, platform: Platform | None = None) -> Descriptor:
    """The descriptor of some bytes."""
    return Descriptor(media_type, digest_of(data), len(data), platform)


def _embedded(text: str, digest: Digest, size: int, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadDocument(what, f"the data embedded for {digest} is not base64") from error
    if len(data) != size or digest_of(data) != digest:
        raise BadDocument(what, f"the data embedded for {digest} is not that blob")
    return data


def _platform_json(platform: Platform) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "architecture": platform.architecture,
        "os": platform.os,
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
    }
    return {
        name: value for name, value in fields.items() if value or name in {"architecture", "os"}
    }
