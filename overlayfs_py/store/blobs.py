"""Blobs: manifests, configs and whatever else is called by the digest of its bytes.

A blob is at its place only when all of it is on the disk and its digest was seen to be right.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import DigestMismatch, digest_of, digest_of_hex
from overlayfs_py.store import durable
from overlayfs_py.store.failures import NotInStore, WrongSize

if TYPE_CHECKING:
    from collections.abc import Iterable
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


def put_stream(
    places: Places, chunks: Iterable[bytes], digest: Digest, size: int, staging: Path
) -> None:
    """Store the bytes that `chunks` add up to, if they are what they should be.

    Raises:
        WrongSize, DigestMismatch: they are not. Reading stops at the first byte too many.
    """
    temporary = staging / f"blob-{os.urandom(8).hex()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _fill(fd, chunks, digest, size, temporary)
        os.fsync(fd)
        os.rename(temporary, places.blob(digest))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(fd)
    durable.sync_directory(places.blobs)


def _fill(fd: int, chunks: Iterable[bytes], digest: Digest, size: int, path: Path) -> None:
    seen, hasher = 0, hashlib.sha256()
    for chunk in chunks:
        seen += len(chunk)
        if seen > size:
            raise WrongSize(digest, size, seen)
        hasher.update(chunk)
        durable.write_all(fd, chunk, path)
    if seen != size:
        raise WrongSize(digest, size, seen)
    _require(digest, digest_of_hex(hasher.hexdigest()))


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
