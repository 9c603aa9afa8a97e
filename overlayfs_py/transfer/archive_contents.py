"""What an archive holds, read once: its layers are in the store then, its documents in memory."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import digest_of, digest_of_hex
from overlayfs_py.image.documents import LARGEST_CONFIG
from overlayfs_py.store.layer_writing import write_layer
from overlayfs_py.tars.engines import Compression, sniff
from overlayfs_py.tars.errors import BadCompression, BadTar
from overlayfs_py.tars.header import BLOCK, END, parse_header
from overlayfs_py.transfer.archive import ArchiveLink
from overlayfs_py.transfer.failures import BadArchive

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from overlayfs_py.errors import OverlayError
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.records import Form
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.transfer.archive import ArchiveFile
    from overlayfs_py.transfer.archive_documents import DockerImage

    Name = tuple[bytes, ...]

_MOST_DOCUMENT_BYTES = 128 << 20  # of all documents of one archive
_MOST_LINKS = 40  # one after the other, as the kernel follows them
_BLOBS = (b"blobs", b"sha256")
_HEX = re.compile(rb"([0-9a-f]{64})(?:\.tar)?")


@dataclass(slots=True)
class Contents:
    """What was found, by the names of the archive."""

    archive: str
    documents: dict[Name, bytes] = field(default_factory=dict)
    layers: dict[Name, StoredLayer] = field(default_factory=dict)
    blobs: dict[Digest, StoredLayer] = field(default_factory=dict)  # by their compressed bytes
    broken: dict[Name, OverlayError] = field(default_factory=dict)
    links: dict[Name, Name] = field(default_factory=dict)

    def document(self, *name: bytes) -> bytes | None:
        """Return a small file, None if there is none."""
        return self.documents.get(self._followed(name))

    def require_document(self, name: Name) -> bytes:
        """Return a small file.

        Raises:
            BadArchive: it is missing.
        """
        found = self.document(*name)
        if found is None:
            raise self._missing(name)
        return found

    def blob(self, digest: Digest) -> bytes | None:
        """Return a document of an OCI layout, None if it is not there."""
        return self.document(*_blob_name(digest))

    def require_blob(self, digest: Digest) -> bytes:
        """Return a document of an OCI layout.

        Raises:
            BadArchive: it is missing.
        """
        return self.require_document(_blob_name(digest))

    def layer(self, name: Name) -> StoredLayer:
        """Return a layer by its file.

        Raises:
            BadArchive: it is missing or damaged.
        """
        followed = self._followed(name)
        if followed in self.broken:
            why = f"{_shown(name)}: {self.broken[followed].strerror}"
            raise BadArchive(self.archive, why) from self.broken[followed]
        if followed not in self.layers:
            raise self._missing(name)
        return self.layers[followed]

    def layer_of_blob(self, digest: Digest) -> StoredLayer:
        """Return a layer by the digest of its blob; raises as `layer`."""
        found = self.blobs.get(digest)
        return self.layer(_blob_name(digest)) if found is None else found

    def digest_of_config(self, image: DockerImage) -> Digest | None:
        """The ID of an image that `manifest.json` lists."""
        found = self.document(*image.config)
        return None if found is None else digest_of(found)

    def _followed(self, name: Name) -> Name:
        for _ in range(_MOST_LINKS):
            if name not in self.links:
                return name
            name = self.links[name]
        raise BadArchive(self.archive, f"{_shown(name)}: a link that leads nowhere")

    def _missing(self, name: Name) -> BadArchive:
        return BadArchive(self.archive, f"{_shown(name)} is missing")


def read_contents(
    files: Iterable[ArchiveFile | ArchiveLink], addition: Addition, archive: str, form: Form
) -> Contents:
    """Read an archive to its end.

    Raises:
        BadTar, BadCompression: the archive itself is damaged.
        BadArchive: its documents are too large.
    """
    contents = Contents(archive)
    room = _MOST_DOCUMENT_BYTES
    for file in files:
        if isinstance(file, ArchiveLink):
            contents.links[file.name] = file.target
            continue
        contents.links.pop(file.name, None)
        head, blocks = _beginning(file.blocks)
        if _is_layer(head) or not head:
            # A layer may have no bytes at all (moby#18170); so may a document that nobody needs.
            _read_layer(contents, file.name, blocks, addition, form)
        elif file.size <= LARGEST_CONFIG:
            room -= file.size
            if room < 0:
                raise BadArchive(archive, "its documents are too large together")
            contents.documents[file.name] = b"".join(blocks)
    return contents


def _beginning(blocks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    head = b""
    while len(head) < BLOCK:
        block = next(blocks, None)
        if block is None:
            break
        head += block
    return head[:BLOCK], itertools.chain((head,), blocks)


def _is_layer(head: bytes) -> bool:
    if sniff(head) is not Compression.PLAIN or head == END:
        return True
    if len(head) < BLOCK:
        return False
    try:
        parse_header(head)
    except ValueError:
        return False
    return True


def _read_layer(
    contents: Contents, name: Name, blocks: Iterable[bytes], addition: Addition, form: Form
) -> None:
    known = _known_layer(name, addition)
    if known is not None:
        contents.layers[name] = known
        return
    try:
        with addition.ingest_unknown_layer(form) as ingest:
            facts, packed = write_layer(ingest, blocks)
            layer = addition.commit_layer(ingest, facts)
    except (BadTar, BadCompression) as error:
        # An archive may hold what is no layer of any image. Who needs it will be told.
        contents.broken[name] = error
        return
    contents.layers[name] = layer
    contents.blobs[digest_of_hex(packed.blob_sha256.hex())] = layer


def _known_layer(name: Name, addition: Addition) -> StoredLayer | None:
    """A layer of the store that has the digest in the file's name.

    Whether the file is that layer need not be read: what is in the store has been.
    """
    found = _HEX.fullmatch(name[-1])
    return None if found is None else addition.find_layer_of(digest_of_hex(found[1].decode()))


def _blob_name(digest: Digest) -> Name:
    return (*_BLOBS, digest.partition(":")[2].encode())


def _shown(name: Name) -> str:
    return b"/".join(name).decode(errors="backslashreplace")
