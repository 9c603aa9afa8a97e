"""Decoding the JSON of manifests, indexes and configs.

Unknown fields are ignored, keys count whatever their case, `null` is the same as absent, and
whatever is wrong is a BadDocument.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import msgspec

from overlayfs_py.image.digest import BadDigest, Digest, parse_digest
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.go_decoding import decode_json

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_SIZE = 2**63 - 1  # Go's int64, which every other tool keeps sizes in
# Registries refuse manifests above 4 MiB (distribution-spec, "Pushing Manifests"); a config is a
# blob, so nothing but our memory bounds it.
LARGEST_MANIFEST = 4 << 20
LARGEST_CONFIG = 16 << 20

Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_SIZE)]
Unread: TypeAlias = list[msgspec.Raw]  # a list whose presence alone matters
Strings: TypeAlias = list[str | None]  # a null among them is an empty text, as in Go
Texts: TypeAlias = dict[str, str | None]

Form = TypeVar("Form", bound=msgspec.Struct)


class Document(msgspec.Struct, rename="camel", frozen=True):
    """The base of the forms that JSON objects are decoded into."""


def decode(raw: bytes, form: type[Form], what: str, largest: int) -> Form:
    """Return the object that `raw` is.

    Raises:
        BadDocument: too large, not JSON, or a field of the wrong type.
    """
    if len(raw) > largest:
        raise BadDocument(what, f"{len(raw)} bytes, more than the {largest} that one may have")
    try:
        return decode_json(raw, form)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise BadDocument(what, str(error)) from error
    except RecursionError as error:
        raise BadDocument(what, "nested too deeply") from error


def digest_in(text: str, what: str) -> Digest:
    """Return the digest that a field holds."""
    try:
        return parse_digest(text)
    except BadDigest as error:
        raise BadDocument(what, f"{text!r} is not a sha256 digest") from error


def texts(values: Mapping[str, str | None] | None) -> dict[str, str]:
    """The entries of a map of texts; a null is an empty text, as in Go."""
    return {name: value or "" for name, value in (values or {}).items()}
