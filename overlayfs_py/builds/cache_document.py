"""What a build's cache says of itself where it is exported to: steps, by their keys, and mounts.

It is the config of an OCI artifact. Its layers are those that steps have made and those that cache
mounts were made into, in the order of `layers`, then tables of files, in the order of `tables`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from overlayfs_py.builds import keys
from overlayfs_py.builds.keys import CacheKey
from overlayfs_py.image.digest import BadDigest, parse_digest
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.store.build_records import StepRecord

CONFIG_TYPE = "application/vnd.overlayfs-py.build-cache.config.v1+json"
TABLE_TYPE = "application/vnd.overlayfs-py.build-cache.table.v1.msgpack+gzip"
VERSION = 1
MOST_STEPS = 5000
_LARGEST_NS = 1 << 62

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """The base of what is in it: unknown fields are of a later version and ignored."""


class StepForm(_Part, frozen=True, kw_only=True):
    """A step, as `builds/steps/HEX` has it."""

    key: str
    instruction: str
    place: str
    parts: tuple[tuple[str, str], ...]
    layer: str  # its diff ID; the blob need not be there
    tar_size: _Count
    created_ns: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_NS)]
    seconds: float
    table: str = ""

    @property
    def record(self) -> StepRecord:
        return StepRecord(
            key=self.key,
            instruction=self.instruction,
            place=self.place,
            parts=self.parts,
            table=self.table,
            layer=self.layer,
            created_ns=self.created_ns,
            seconds=self.seconds,
        )


class MountForm(_Part, frozen=True, kw_only=True):
    """A cache mount, as a layer: its root is the mount's."""

    id: str
    layer: str  # its diff ID


class CacheDocument(_Part, frozen=True, kw_only=True):
    """All of a cache but its blobs."""

    version: int
    keys: str = ""  # what kind of keys: those of another version mean something else
    layers: tuple[str, ...] = ()  # diff IDs
    tables: tuple[str, ...] = ()
    steps: tuple[StepForm, ...] = ()
    selections: tuple[tuple[str, str], ...] = ()  # of files of layers: a key, and their digest
    mounts: tuple[MountForm, ...] = ()

    @property
    def made_ns(self) -> int:
        """When its last step was made."""
        return max((step.created_ns for step in self.steps), default=0)


class _Version(msgspec.Struct, frozen=True):
    version: int


def encode(document: CacheDocument) -> bytes:
    """The bytes of a document: the same for the same."""
    return msgspec.json.encode(document)


def decode(raw: bytes, name: str) -> CacheDocument:
    """Return the document that `raw` is; what contradicts itself is left out.

    Raises:
        BadDocument: it is none, or one of a later version.
    """
    try:
        version = msgspec.json.decode(raw, type=_Version).version
        if version != VERSION:
            raise BadDocument(name, f"a build cache of version {version}, not {VERSION}")
        document = msgspec.json.decode(raw, type=CacheDocument)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadDocument(name, f"no build cache: {error}") from error
    if len(document.steps) > MOST_STEPS:
        raise BadDocument(name, f"{len(document.steps)} steps, more than {MOST_STEPS}")
    steps = document.steps if document.keys == keys.VERSION else ()
    return msgspec.structs.replace(
        document,
        steps=tuple(step for step in steps if _is_sound(step)),
        selections=document.selections if steps else (),
        mounts=tuple(mount for mount in document.mounts if _is_digest(mount.layer)),
    )


def _is_sound(step: StepForm) -> bool:
    """Whether its key is that of its parts: so it decides for no other step than it shows."""
    return (
        CacheKey(step.parts).digest == step.key
        and _is_digest(step.layer)
        and (not step.table or _is_digest(step.table))
    )


def _is_digest(text: str) -> bool:
    try:
        parse_digest(text)
    except BadDigest:
        return False
    return True
