"""Digests: what a blob, a layer's tar or a manifest is called by.

Source: OCI image-spec descriptor.md, "Digests". Only sha256 is accepted: it is the one algorithm
that every registry serves.
"""

from __future__ import annotations

import hashlib
from typing import NewType

from overlayfs_py.errors import OverlayError
from overlayfs_py.late_import import late_pattern

Digest = NewType("Digest", str)  # "sha256:" and 64 lower-case hex digits

_FORM = late_pattern(r"sha256:[0-9a-f]{64}")
_PREFIX = "sha256:"


class BadDigest(OverlayError):
    """A text that is no digest we accept."""

    exit_code = 30

    def __init__(self, text: str) -> None:
        super().__init__(None, "not a sha256 digest", text)


class WrongContent(OverlayError):
    """Data that is not what it is said to be, rather than data that does not come."""

    exit_code = 30


class DigestMismatch(WrongContent):
    """Data that is not what its name says."""

    def __init__(self, what: str, want: Digest, got: Digest) -> None:
        super().__init__(None, f"has digest {got}, expected {want}", what)


def parse_digest(text: str) -> Digest:
    """Return `text` as a digest.

    Raises:
        BadDigest: it is none.
    """
    if _FORM.fullmatch(text) is None:
        raise BadDigest(text)
    return Digest(text)


def digest_of(data: bytes | memoryview) -> Digest:
    """The digest of some bytes."""
    return digest_of_hex(hashlib.sha256(data).hexdigest())


def digest_of_hex(hex_digits: str) -> Digest:
    """The digest for what hashlib's `hexdigest()` gave."""
    return parse_digest(_PREFIX + hex_digits)


def hex_of(digest: Digest) -> str:
    """The 64 hex digits, without the algorithm: safe as a file name."""
    return digest.removeprefix(_PREFIX)
