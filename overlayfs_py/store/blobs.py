"""Blobs: manifests, configs and whatever else is called by the digest of its bytes.

A blob is at its place only when all of it is on the disk and its digest was seen to be right.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import DigestMismatch, digest_of, digest_of_hex
from overlayfs_py.store import durable
from overlayfs_py.store.failures import NotInStore

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.places import Places

_CHUNK_BYTES = 1 << 20


def read(places: Places, digest: Digest) -> bytes:
    """Return a blob's bytes, checked against its digest.

    Raises:
        NotInStore: it is not there.
        DigestMismatch: the disk gave other bytes than were written.
    """
    try:
        data = durable.read_file(places.blob(digest))
    except FileNotFoundError:
        raise NotInStore(digest, "blob") from None
    require_digest(data, digest)
    return data


def open_blob(places: Places, digest: Digest) -> BinaryIO | None:
    """Open a blob, None if it is not there; its bytes stay until it is closed."""
    try:
        fd = os.open(places.blob(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    return open(fd, "rb")


def require_digest(data: bytes, want: Digest | None) -> Digest:
    """Return the digest of some bytes.

    Raises:
        DigestMismatch: it is not `want`.
    """
    got = digest_of(data)
    _require(got if want is None else want, got)
    return got


def put(places: Places, data: bytes, digest: Digest, staging: Path) -> None:
    """Store some bytes, whose digest the caller has checked; they may be there already."""
    path = places.blob(digest)
    if not path.exists():
        durable.write_file(path, data, staging)


def adopt(places: Places, source: Path, digest: Digest) -> None:
    """Move a file, whose digest the caller has checked, to the blob's place."""
    durable.sync_file(source)
    os.rename(source, places.blob(digest))
    durable.sync_directory(places.blobs)
    durable.sync_directory(source.parent)


def digest_of_file(path: Path) -> Digest:
    """The digest of a file's bytes; a symbolic link is not followed (ELOOP)."""
    hasher = hashlib.sha256()
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        while chunk := os.read(fd, _CHUNK_BYTES):
            hasher.update(chunk)
    finally:
        os.close(fd)
    return digest_of_hex(hasher.hexdigest())


def _require(want: Digest, got: Digest) -> None:
    if want != got:
        raise DigestMismatch("blob", want, got)
