"""Which image a person means: a name, an ID or the beginning of one, a digest.

The order is docker's (moby, daemon/images/image.go, GetImage): a name wins over the beginning of
an ID, a whole ID or digest over everything. All of it needs the store's lock, shared.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from overlayfs_py.image.digest import Digest
from overlayfs_py.image.errors import BadReference
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store import names
from overlayfs_py.store.failures import Ambiguous, NotInStore

if TYPE_CHECKING:
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.records import ImageEntry

_ID = re.compile(r"(?:sha256:)?([0-9a-f]{1,64})")
_WHOLE = 64


def resolve(places: Places, text: str) -> tuple[ImageEntry, Reference | None]:
    """Return the image that `text` means, and the reference if it was meant by one.

    Raises:
        NotInStore: there is none.
        Ambiguous: several IDs begin so.
    """
    found = _ID.fullmatch(text)
    digits = None if found is None else found[1]
    if digits is not None and len(digits) == _WHOLE:
        return _by_digits(places, text, digits), None
    named = _by_name(places, text)
    if named is not None:
        return named
    if digits is None:
        raise NotInStore(text, "image")
    return _by_digits(places, text, digits), None


def _by_name(places: Places, text: str) -> tuple[ImageEntry, Reference] | None:
    try:
        reference = parse_reference(text).with_default_tag()
    except BadReference:
        return None
    if reference.digest is not None:
        entry = _by_repo_digest(places, reference, reference.digest)
    else:
        tag = names.find_tag(places, reference)
        entry = None if tag is None else names.find_entry(places, Digest(tag.manifest))
    return None if entry is None else (entry, reference)


def _by_repo_digest(places: Places, reference: Reference, digest: Digest) -> ImageEntry | None:
    """The image that a repository has under a digest, its manifest's or its index's."""
    for entry in names.all_entries(places):
        if digest in (entry.manifest, entry.index) and (
            reference.repository in entry.repositories
            or _is_tagged_in(places, entry, reference.repository)
        ):
            return entry
    return None


def _is_tagged_in(places: Places, entry: ImageEntry, repository: str) -> bool:
    return any(
        tag.manifest == entry.manifest and tag.reference.rpartition(":")[0] == repository
        for tag in names.all_tags(places)
    )


def _by_digits(places: Places, text: str, digits: str) -> ImageEntry:
    """The image whose ID begins so; of several with one ID, the one added last."""
    entries = names.all_entries(places)
    digest = f"sha256:{digits}"
    if len(digits) == _WHOLE:
        entries = [entry for entry in entries if digest in _digests(entry)]
    else:
        entries = [entry for entry in entries if entry.config.startswith(digest)]
    ids = {entry.config for entry in entries}
    if not ids:
        raise NotInStore(text, "image")
    if len(ids) > 1:
        raise Ambiguous(text, len(ids))
    return entries[0]


def _digests(entry: ImageEntry) -> tuple[str, str, str]:
    return entry.config, entry.manifest, entry.index
