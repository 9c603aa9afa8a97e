"""The two documents that say what an image archive holds.

Sources: moby, image/tarexport (manifest.json); OCI image-spec image-layout.md (index.json), and the
annotations that containerd, podman and skopeo put there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image.errors import BadReference
from overlayfs_py.image.manifest import Index, parse_manifest
from overlayfs_py.image.media_types import OCI_INDEX
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.transfer.failures import BadArchive

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.reference import Reference

    Name = tuple[bytes, ...]

_MOST_IMAGES = 1000
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
    repo_tags: list[str] | None = None


def parse_docker_list(raw: bytes | None, archive: str) -> list[DockerImage]:
    """Return the images that `manifest.json` lists; none where there is no such file.

    Raises:
        BadArchive: it is no such list.
        BadReference: a name in it is none.
    """
    if raw is None:
        return []
    try:
        entries = msgspec.json.decode(raw, type=list[_Entry])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadArchive(archive, f"manifest.json: {error}") from error
    if len(entries) > _MOST_IMAGES:
        raise BadArchive(archive, f"manifest.json: {len(entries)} images are too many")
    return [
        DockerImage(
            name_of(entry.config),
            tuple(name_of(layer) for layer in entry.layers or ()),
            tuple(parse_reference(tag).with_default_tag() for tag in entry.repo_tags or ()),
        )
        for entry in entries
    ]


def parse_layout(raw: bytes, archive: str) -> Iterator[tuple[Descriptor, tuple[Reference, ...]]]:
    """Yield what `index.json` lists, and the names that it gives."""
    parsed = parse_manifest(raw, OCI_INDEX)
    if not isinstance(parsed, Index):
        raise BadArchive(archive, "index.json: not an index")
    for descriptor in parsed.manifests:
        yield descriptor, tuple(_references(descriptor))


def _references(descriptor: Descriptor) -> Iterator[Reference]:
    full = descriptor.annotations.get(_FULL_NAME)
    if full:
        yield parse_reference(full).with_default_tag()
        return
    text = descriptor.annotations.get(_REFERENCE, "")
    # `debian:12` is a name; `12` alone is a tag of a repository that nothing tells.
    if ":" in text or "/" in text:
        try:
            yield parse_reference(text).with_default_tag()
        except BadReference:
            return  # image-spec allows more than names here


def name_of(path: str) -> Name:
    """The name of a file in an archive, as its documents write it."""
    parts = path.encode("utf-8", "surrogateescape").split(b"/")
    return tuple(part for part in parts if part not in (b"", b"."))
