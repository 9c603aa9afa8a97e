"""The two documents that say what an image archive holds.

Sources: moby, image/tarexport (manifest.json); OCI image-spec image-layout.md (index.json), and the
annotations that containerd, podman and skopeo put there.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from msgspec import structs

from overlayfs_py.image.errors import BadReference
from overlayfs_py.image.go_decoding import decode_json
from overlayfs_py.image.manifest import Index, parse_manifest
from overlayfs_py.image.media_types import OCI_INDEX
from overlayfs_py.image.reference import parse_reference, require_tag_name
from overlayfs_py.transfer.failures import BadArchive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.reference import Reference

    Name = tuple[bytes, ...]

log = logging.getLogger(__name__)

MOST_IMAGES = 1000
_FULL_NAME = "io.containerd.image.name"
_REFERENCE = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True)
class DockerImage:
    """One entry of `manifest.json`."""

    config: Name
    layers: tuple[Name, ...]  # lowest first
    references: tuple[Reference, ...]


class _Entry(msgspec.Struct, rename="pascal"):
    config: str
    layers: list[str] | None = None
    repo_tags: list[str | None] | None = None


def parse_docker_list(raw: bytes | None, archive: str) -> list[DockerImage]:
    """Return the images that `manifest.json` lists; none where there is no such file.

    Raises:
        BadArchive: it is no such list.
        BadReference: a name in it is none.
    """
    if raw is None:
        return []
    try:
        entries = decode_json(raw, list[_Entry])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadArchive(archive, f"manifest.json: {error}") from error
    if len(entries) > MOST_IMAGES:
        raise BadArchive(archive, f"manifest.json: {len(entries)} images are too many")
    return [
        DockerImage(
            name_of(entry.config),
            tuple(name_of(layer) for layer in entry.layers or ()),
            tuple(
                filter(None, (name_to_give(archive, tag or "") for tag in entry.repo_tags or ()))
            ),
        )
        for entry in entries
    ]


def parse_layout(raw: bytes, archive: str) -> Iterator[tuple[Descriptor, Reference | None]]:
    """Yield what `index.json` lists, and the name that it gives."""
    parsed = parse_manifest(raw, OCI_INDEX)
    if not isinstance(parsed, Index):
        raise BadArchive(archive, "index.json: not an index")
    for descriptor in parsed.manifests:
        yield descriptor, _reference(archive, descriptor)


def _reference(archive: str, descriptor: Descriptor) -> Reference | None:
    text = descriptor.annotations.get(_FULL_NAME) or descriptor.annotations.get(_REFERENCE, "")
    # `debian:12` is a name; `12` alone is a tag of a repository that nothing tells.
    if ":" not in text and "/" not in text:
        return None
    try:
        return name_to_give(archive, text)
    except BadReference as error:
        log.info("%s: %r: %s", archive, text, error.strerror)  # image-spec allows more than names
        return None


def name_to_give(archive: str, text: str) -> Reference | None:
    """The name to load an image under; None if no image can have it, and then that is said.

    A digest beside the name is the registry's word for the manifest: of that, a tag is left, if
    there is one.

    Raises:
        BadReference: it is no name at all.
    """
    reference = parse_reference(text).with_default_tag()
    if reference.tag is None:
        return None
    named = structs.replace(reference, digest=None)
    try:
        require_tag_name(named)
    except BadReference as error:
        log.warning("%s: loaded without the name %s: %s", archive, text, error.strerror)
        return None
    return named


def name_of(path: str) -> Name:
    """The name of a file in an archive, as its documents write it."""
    parts = path.encode("utf-8", "surrogateescape").split(b"/")
    return tuple(part for part in parts if part not in (b"", b"."))
