"""The packs of an image's layers as an OCI artifact: a manifest about the image's manifest.

Its layers are the packs, each with annotations that say which layer it is and what a reader needs
to check everything else: the pack's own digest covers the footer, that the page digests, those the
index, that each chunk (docs/PACK.md). One more blob may say in which order a first run has used
the chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import BadDigest, Digest, digest_of, parse_digest
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.manifest import build_manifest
from overlayfs_py.image.media_types import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from overlayfs_py.image.manifest import Manifest

_OURS = "application/vnd.overlayfs-py"
ARTIFACT_TYPE = f"{_OURS}.packs.v1"
PACK_TYPE = f"{_OURS}.pack.v1"
ORDER_TYPE = f"{_OURS}.pack-order.v1+json"
# OCI image-spec, manifest.md, "Guidelines for Artifact Usage": what has no config has this one.
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
EMPTY = b"{}"
LARGEST_ORDER = 4 << 20
MOST_ORDERED = 1 << 16  # chunks of one layer: 8 GiB

_DIFF_ID = "py.overlayfs.pack.diff-id"
_DIGEST = "py.overlayfs.pack.digest"
_INDEX = "py.overlayfs.pack.index-offset"


class PackBlob(NamedTuple):
    """A layer's pack in a registry."""

    diff_id: Digest
    pack: Digest  # the pack's own digest, which its footer ends with
    index_offset: int  # from there to its end a reader needs all of it
    blob: Descriptor  # its file

    def descriptor(self) -> Descriptor:
        """As the artifact's manifest lists it."""
        annotations = {
            _DIFF_ID: self.diff_id,
            _DIGEST: self.pack,
            _INDEX: str(self.index_offset),
        }
        return Descriptor(PACK_TYPE, self.blob.digest, self.blob.size, annotations=annotations)


def build(image: Manifest, packs: Sequence[PackBlob], order: Descriptor | None) -> Manifest:
    """Return the artifact's manifest; the same arguments always give the same bytes."""
    config = Descriptor(EMPTY_TYPE, digest_of(EMPTY), len(EMPTY))
    layers = [each.descriptor() for each in packs]
    if order is not None:
        layers.append(order)
    subject = Descriptor(image.media_type, image.digest, len(image.raw))
    return build_manifest(Kind.OCI, config, layers, subject=subject, artifact_type=ARTIFACT_TYPE)


def packs_in(artifact: Manifest, image: Digest) -> dict[Digest, PackBlob]:
    """Return the packs of an artifact about an image, by diff ID.

    Raises:
        BadDocument: it is another thing, or about another image.
    """
    what = f"manifest {artifact.digest}"
    if artifact.artifact_type != ARTIFACT_TYPE:
        raise BadDocument(what, f"no packs: {artifact.artifact_type!r}")
    if artifact.subject is None or artifact.subject.digest != image:
        raise BadDocument(what, f"not about {image}")
    listed = [each for each in artifact.layers if each.media_type == PACK_TYPE]
    found = [_pack(each, what) for each in listed]
    return {each.diff_id: each for each in found}


def order_in(artifact: Manifest) -> Descriptor | None:
    """Return the blob that says in which order chunks were used, if there is one."""
    listed = [each for each in artifact.layers if each.media_type == ORDER_TYPE]
    return listed[0] if listed else None


def _pack(listed: Descriptor, what: str) -> PackBlob:
    told = listed.annotations
    try:
        diff_id, pack = parse_digest(told[_DIFF_ID]), parse_digest(told[_DIGEST])
        offset = told[_INDEX]
    except (KeyError, BadDigest) as error:
        raise BadDocument(what, f"the pack {listed.digest} lacks an annotation") from error
    if not (offset.isascii() and offset.isdigit() and len(offset) < 20):
        raise BadDocument(what, f"the pack {listed.digest} has its index at {offset!r}")
    if int(offset) >= listed.size:
        raise BadDocument(what, f"the pack {listed.digest} ends before its index")
    return PackBlob(diff_id, pack, int(offset), listed)


def encode_order(order: Mapping[Digest, Sequence[int]]) -> bytes:
    """Return the blob that says in which order chunks of layers were used."""
    return msgspec.json.encode({key: list(order[key]) for key in sorted(order)})


def decode_order(raw: bytes) -> dict[str, list[int]]:
    """Return what such a blob says; nothing of one that makes no sense, which is only advice."""
    try:
        found = msgspec.json.decode(raw, type=dict[str, list[int]])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    return {key: numbers[:MOST_ORDERED] for key, numbers in found.items()}
