"""Removing images: what `rmi` and `image prune` do to names. All needs the store's exclusive lock.

The rules are docker's (moby, daemon/images/image_delete.go): a name takes away a name, and the
image with the last of them; an ID takes away the image if all its names are of one repository.
An image goes by one rename, with all its names; blobs and layers go after it. Where an image was
pushed to it has a name only there: that keeps nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image.digest import Digest
from overlayfs_py.store import containers, names, resolving
from overlayfs_py.store.collection import is_used
from overlayfs_py.store.failures import InUse

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.records import ImageEntry


class Unnamed(msgspec.Struct, frozen=True):
    """What became of names."""

    untagged: tuple[str, ...] = ()  # in full: `docker.io/library/debian:12`, `...@sha256:...`
    entries: tuple[ImageEntry, ...] = ()  # what is no image any more


class _Names(msgspec.Struct, frozen=True):
    """All names of one image ID."""

    entries: tuple[ImageEntry, ...]  # usually one: the same config in another manifest is rare
    tags: tuple[str, ...]

    @property
    def digests(self) -> tuple[str, ...]:
        return tuple(name for entry in self.entries for name in entry.repo_digests)

    @property
    def lasting(self) -> frozenset[str]:
        """Those that keep the image."""
        return frozenset((*self.tags, *(name for entry in self.entries for name in entry.pulled)))

    @property
    def are_of_one_repository(self) -> bool:
        """Whether an ID says enough: at most one tag, and nothing of another repository."""
        repositories = {_repository(name) for name in self.lasting}
        return len(self.tags) <= 1 and len(repositories) <= 1


def remove(places: Places, text: str, *, force: bool) -> Unnamed:
    """Take away what `text` means: a name, or an image with all its names.

    Raises:
        NotInStore, Ambiguous: as `resolve`.
        InUse: the image would go, and is mounted, or has names in several repositories; not with
            `force`, which leaves what is mounted to a later collection.
    """
    entry, reference = resolving.resolve(places, text)
    known = _names_of(places, entry.config)
    if reference is None:
        return _remove_id(places, text, known, force=force)
    return _remove_name(places, text, entry, reference, known, force=force)


def remove_all(places: Places, entries: Iterable[ImageEntry]) -> Unnamed:
    """Take away images with all their names, except those that are mounted or have containers."""
    needed = {container.manifest for container in containers.all_records(places)}
    free = [
        entry
        for entry in entries
        if entry.manifest not in needed and not is_used(places, Digest(entry.manifest))
    ]
    manifests = {entry.manifest for entry in free}
    tags = [tag.reference for tag in names.all_tags(places) if tag.manifest in manifests]
    digests = [name for entry in free for name in entry.repo_digests]
    return _drop(places, tags, digests, free)


def dangling(places: Places) -> list[ImageEntry]:
    """The images that no tag names."""
    tagged = {tag.manifest for tag in names.all_tags(places)}
    return [entry for entry in names.all_entries(places) if entry.manifest not in tagged]


def _remove_id(places: Places, text: str, known: _Names, *, force: bool) -> Unnamed:
    if not force and not known.are_of_one_repository:
        raise InUse(text, "the image has names in several repositories (--force removes all)")
    _require_unused(places, text, known.entries, force=force)
    return _drop(places, known.tags, known.digests, known.entries)


def _remove_name(
    places: Places,
    text: str,
    entry: ImageEntry,
    reference: Reference,
    known: _Names,
    *,
    force: bool,
) -> Unnamed:
    repository = reference.repository
    own = [tag for tag in _tags_of(places, entry.manifest) if _repository(tag) == repository]
    if reference.digest is None:
        tags = [names.full(reference)]
        # The last tag of a repository takes what else is known of the repository with it.
        with_repository = own == tags
    else:
        tags = []
        with_repository = True
    digests = [name for name in entry.repo_digests if _repository(name) == repository]
    gone = {*tags, *(digests if with_repository else ())}
    if gone >= known.lasting and (tags or gone >= {*known.digests}):
        _require_unused(places, text, known.entries, force=force)
        return _drop(places, tags, known.digests if tags else digests, known.entries)
    own_names = {*_tags_of(places, entry.manifest), *entry.pulled}
    nameless = gone >= own_names and bool(tags or gone >= {*entry.repo_digests})
    if not nameless and with_repository:
        names.drop_repository(places, entry, repository)
    return _drop(places, tags, digests if with_repository else [], [entry] if nameless else [])


def _drop(
    places: Places,
    tags: Iterable[str],
    digests: Iterable[str],
    entries: Iterable[ImageEntry],
) -> Unnamed:
    """Take away names; with entries these and no others, which must be all names they have."""
    removed = tuple(tags)
    gone = tuple(entry for entry in entries if names.withdraw(places, Digest(entry.manifest)))
    if not gone:
        removed = tuple(tag for tag in removed if names.remove_tag(places, tag))
    return Unnamed((*removed, *digests), gone)


def _require_unused(
    places: Places, text: str, entries: Iterable[ImageEntry], *, force: bool
) -> None:
    if force:
        return
    for entry in entries:
        if is_used(places, Digest(entry.manifest)):
            raise InUse(text, "the image is mounted (--force takes its names away)")
        for container in containers.using(places, entry.manifest):
            why = f"container {container.id[:12]} is made of it (--force takes its names away)"
            raise InUse(text, why)


def _names_of(places: Places, image_id: str) -> _Names:
    entries = [entry for entry in names.all_entries(places) if entry.config == image_id]
    tags = [tag for entry in entries for tag in _tags_of(places, entry.manifest)]
    return _Names(tuple(entries), tuple(tags))


def _tags_of(places: Places, manifest: str) -> list[str]:
    return [tag.reference for tag in names.all_tags(places) if tag.manifest == manifest]


def _repository(name: str) -> str:
    return name.partition("@")[0] if "@" in name else name.rpartition(":")[0]
