"""The small JSON files of a store, and nothing else that a store knows of itself."""

from __future__ import annotations

import hashlib
import re
from enum import Enum
from typing import TYPE_CHECKING, TypeVar

import msgspec

from overlayfs_py.image.digest import BadDigest, Digest, parse_digest
from overlayfs_py.late_import import late_pattern
from overlayfs_py.store import durable
from overlayfs_py.store.failures import CorruptStore

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
_HEX = late_pattern("[0-9a-f]{64}")
_CHECKED = late_pattern(rb'(\{.*),"check":"([^"]*)"\}\s*', re.DOTALL)


class Form(Enum):
    """How a layer lies in the store."""

    PACK = "pack"
    TREE = "dir"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all records: unknown fields are of a later version and ignored."""


class StoreVersion(Record, frozen=True, kw_only=True):
    """`store.json`: what the directory is."""

    version: int = VERSION
    kind: str = "overlayfs-py store"


class LayerBlob(Record, frozen=True, kw_only=True):
    """A compressed form of a layer, which a registry has or had."""

    digest: str
    size: int
    media_type: str
    sources: tuple[str, ...] = ()  # repositories, `docker.io/library/debian`
    # What a compressor needs to make the very same blob again, as `packs` says it; empty where
    # that is unknown.
    recipe: dict[str, str | int] = msgspec.field(default_factory=dict)


class LayerRecord(Record, frozen=True, kw_only=True):
    """`layers/HEX/layer.json`: a layer that is whole. Written before the layer is in its place."""

    diff_id: str
    form: Form
    tar_size: int  # of the uncompressed tar
    files_size: int  # what its files add up to: what image sizes are counted in
    stored_size: int  # bytes on our disk
    blobs: tuple[LayerBlob, ...] = ()
    pack: str = ""  # the pack's own digest; none for a directory


class ComingSource(Record, frozen=True, kw_only=True):
    """`coming/HEX/source.json`: where the chunks of a layer come from, that is not whole yet."""

    diff_id: str
    pack: str  # the pack's own digest
    blob: str  # the digest of its file, as registries have it
    size: int
    repositories: tuple[str, ...]  # `docker.io/library/debian`
    order: tuple[int, ...] = ()  # chunks that a first run has used, in the order of their use
    # As the pull was told; what they name is asked for again whenever something is fetched.
    tls_verify: bool | None = None
    cert_dir: str = ""
    authfile: str = ""


class ImageEntry(Record, frozen=True, kw_only=True):
    """`images/HEX`: a manifest that is an image here, with or without a tag."""

    manifest: str
    media_type: str  # of the manifest, as it came
    config: str  # the image's ID
    added_ns: int
    index: str = ""  # digest of the index that it was chosen from, which is kept as a blob
    repositories: tuple[str, ...] = ()  # where the manifest or its index can be pulled from
    # Where it was pushed to, `docker.io/library/debian@sha256:...`: under its manifest's digest, or
    # another one that the push gave it.
    pushed: tuple[str, ...] = ()

    @property
    def pulled(self) -> tuple[str, ...]:
        """What it was pulled as, in full."""
        digest = self.index or self.manifest
        return tuple(f"{repository}@{digest}" for repository in self.repositories)

    @property
    def repo_digests(self) -> tuple[str, ...]:
        """What it can be pulled by, in full."""
        return tuple(dict.fromkeys((*self.pulled, *self.pushed)))


class TagEntry(Record, frozen=True, kw_only=True):
    """`tags/HASH`: a reference and the image that it names."""

    reference: str  # in full, `docker.io/library/debian:12`
    manifest: str
    tagged_ns: int


AnyRecord = TypeVar("AnyRecord", bound=Record)


def read(path: Path, kind: type[AnyRecord]) -> AnyRecord | None:
    """Return what a record says, None if it is not there.

    Raises:
        CorruptStore: it is none.
    """
    try:
        raw = durable.read_file(path)
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise CorruptStore(str(path), f"not a record: {error}") from error


def is_hex(name: str) -> bool:
    """Whether a file's name is one that a digest gives."""
    return _HEX.fullmatch(name) is not None


def encode(record: Record) -> bytes:
    """The bytes of a record, with what tells whether they are still those."""
    raw = msgspec.json.encode(record)
    return b'%s,"check":"%s"}\n' % (raw[:-1], _check(raw))


def fault(path: Path) -> str | None:
    """What is wrong with a record's bytes; None if nothing is, it is gone, or it has no check.

    Records of earlier versions have none. Who reads one goes by what it says all the same: of most
    of its fields nothing else knows.

    Raises:
        CorruptStore: it is no small file.
    """
    try:
        raw = durable.read_file(path)
    except FileNotFoundError:
        return None
    found = _CHECKED.fullmatch(raw)
    if found is None:
        return None
    return None if _check(found[1] + b"}") == found[2] else "its record has been changed"


def _check(raw: bytes) -> bytes:
    return hashlib.sha256(raw).hexdigest()[:16].encode()


def digest_in(path: Path, text: str) -> Digest:
    """Return the digest that a record at `path` holds.

    Raises:
        CorruptStore: it holds none.
    """
    try:
        return parse_digest(text)
    except BadDigest as error:
        raise CorruptStore(str(path), f"{text!r} is no digest") from error
