"""Which image a person means: a name, an ID or the beginning of one, a digest.

The order is docker's (moby, daemon/images/image.go, GetImage): a name wins over the beginning of
an ID, a whole ID or digest over everything. A name without a host that docker.io has no image of
here may be that of another registry, as with podman, so that what was pulled by a short name is
found by it. All of it needs the store's lock, shared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.digest import Digest
from overlayfs_py.image.errors import BadReference
from overlayfs_py.image.reference import has_domain, parse_reference
from overlayfs_py.late_import import late_pattern
from overlayfs_py.store import names
from overlayfs_py.store.failures import Ambiguous, NotInStore

if TYPE_CHECKING:
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.records import ImageEntry, TagEntry

_ID = late_pattern(r"(?:sha256:)?([0-9a-f]{1,64})")
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
        tag = names.find_tag(places, reference) or _short_tag(places, text, reference)
        if tag is None:
            return None
        reference = parse_reference(tag.reference)
        entry = names.find_entry(places, Digest(tag.manifest))
    return None if entry is None else (entry, reference)


def _short_tag(places: Places, text: str, reference: Reference) -> TagEntry | None:
    """The tag of whatever registry that a name without a host stands for.

    Raises:
        Ambiguous: there are several.
    """
    if has_domain(text):
        return None
    ending = f"/{reference.familiar}"
    found = [tag for tag in names.all_tags(places) if tag.reference.endswith(ending)]
    if len(found) > 1:
        raise Ambiguous(text, f"may be {' or '.join(tag.reference for tag in found)}")
    return found[0] if found else None


def _by_repo_digest(places: Places, reference: Reference, digest: Digest) -> ImageEntry | None:
    """The image that a repository has under a digest, its manifest's or its index's."""
    for entry in names.all_entries(places):
        if f"{reference.repository}@{digest}" in entry.pushed or (
            digest in (entry.manifest, entry.index)
            and (
                reference.repository in entry.repositories
                or _is_tagged_in(places, entry, reference.repository)
            )
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
        raise Ambiguous(text, f"{len(ids)} images have IDs that begin so")
    return entries[0]


def _digests(entry: ImageEntry) -> tuple[str, str, str]:
    return entry.config, entry.manifest, entry.index
