"""What the store's references name, and which manifests are images.

All that writes here needs the store's lock, exclusively; all that reads, shared.
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.image.digest import Digest, digest_of_hex
from overlayfs_py.image.reference import require_tag_name
from overlayfs_py.store import durable, records
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.places import GONE
from overlayfs_py.store.records import ImageEntry, TagEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.records import AnyRecord

_log = logging.getLogger(__name__)


def find_tag(places: Places, reference: Reference) -> TagEntry | None:
    """Return what a reference with a tag names, None where it names nothing."""
    text = full(reference)
    entry = _read_tag(places.tag(text))
    return entry if entry is not None and entry.reference == text else None


def all_tags(places: Places) -> list[TagEntry]:
    """All tags, by their reference. A damaged one names nothing, and is only warned of."""
    found = _undamaged(_read_tag, _records(places.tags))
    return sorted(found, key=lambda tag: tag.reference)


def put_tag(places: Places, reference: Reference, manifest: Digest) -> None:
    """Let a reference with a tag name an image, instead of the one that it may name now.

    Raises:
        BadReference: no image can have this name.
    """
    require_tag_name(reference)
    text = full(reference)
    entry = TagEntry(reference=text, manifest=manifest, tagged_ns=time.time_ns())
    durable.write_file(places.tag(text), records.encode(entry), places.staging)


def remove_tag(places: Places, reference: str) -> bool:
    """Let a reference name nothing; False where that is so already."""
    return durable.remove_file(places.tag(reference))


def full(reference: Reference) -> str:
    """A reference as a tag: `latest` if it says nothing else."""
    named = reference.with_default_tag()
    if named.tag is None:
        raise ValueError(f"{reference}: a digest is no tag")
    # With both, the digest decides what is pulled, and the tag what it is called.
    return structs.replace(named, digest=None).canonical


def find_entry(places: Places, manifest: Digest) -> ImageEntry | None:
    """Return the entry of an image, None where the manifest is no image of this store."""
    path = places.image(manifest)
    entry = records.read(path, ImageEntry)
    if entry is not None and entry.manifest != manifest:
        raise CorruptStore(str(path), f"the entry of {entry.manifest}")
    return entry


def all_entries(places: Places) -> list[ImageEntry]:
    """The entries of all images, newest first. A damaged one is none, and is only warned of."""
    found = _undamaged(lambda path: find_entry(places, _digest(path)), _records(places.images))
    return sorted(found, key=lambda entry: (-entry.added_ns, entry.manifest))


def require_entries(places: Places) -> list[ImageEntry]:
    """The entries of all images, in any order.

    Raises:
        CorruptStore: one is damaged.
    """
    found = (find_entry(places, _digest(path)) for path in _records(places.images))
    return [entry for entry in found if entry is not None]


def put_entry(places: Places, entry: ImageEntry) -> ImageEntry:
    """Make a manifest an image of this store; one that is there gets the new facts added."""
    known = find_entry(places, Digest(entry.manifest))
    if known is None:
        finish_withdrawals(places)  # its old tags must not name it again
    else:
        repositories = tuple(dict.fromkeys((*entry.repositories, *known.repositories)))
        entry = structs.replace(known, index=entry.index or known.index, repositories=repositories)
    if entry != known:
        place = places.image(Digest(entry.manifest))
        durable.write_file(place, records.encode(entry), places.staging)
    return entry


def drop_repository(places: Places, entry: ImageEntry, repository: str) -> None:
    """Forget that an image can be pulled from a repository."""
    others = tuple(name for name in entry.repositories if name != repository)
    pushed = tuple(name for name in entry.pushed if name.partition("@")[0] != repository)
    _change(places, entry, structs.replace(entry, repositories=others, pushed=pushed))


def add_pushed(places: Places, manifest: Digest, repo_digest: str) -> None:
    """Note by what else an image can be pulled; one that is gone meanwhile stays so."""
    entry = find_entry(places, manifest)
    if entry is not None:
        pushed = tuple(dict.fromkeys((repo_digest, *entry.pushed)))
        _change(places, entry, structs.replace(entry, pushed=pushed))


def _change(places: Places, entry: ImageEntry, changed: ImageEntry) -> None:
    if changed != entry:
        place = places.image(Digest(entry.manifest))
        durable.write_file(place, records.encode(changed), places.staging)


def withdraw(places: Places, manifest: Digest) -> bool:
    """Make a manifest no image any more, at once with all its tags; False where it was none."""
    place = places.image(manifest)
    gone = place.with_suffix(GONE)
    try:
        # The one step that decides. All after it can be done by whoever comes next.
        os.rename(place, gone)
    except FileNotFoundError:
        return False
    durable.sync_directory(places.images)
    _finish(places, gone)
    return True


def finish_withdrawals(places: Places) -> None:
    """Remove the tags that somebody who was killed left to name nothing."""
    for path in sorted(places.images.glob(f"*{GONE}")):
        if records.is_hex(path.stem):
            _finish(places, path)


def _finish(places: Places, gone: Path) -> None:
    manifest = digest_of_hex(gone.stem)
    for tag in all_tags(places):
        if tag.manifest == manifest:
            remove_tag(places, tag.reference)
    durable.remove_file(gone)


def _undamaged(
    read: Callable[[Path], AnyRecord | None], paths: Iterable[Path]
) -> Iterator[AnyRecord]:
    for path in paths:
        try:
            found = read(path)
        except CorruptStore as error:
            _log.warning("%s: %s", error.filename, error.strerror)
        else:
            if found is not None:
                yield found


def _digest(path: Path) -> Digest:
    return digest_of_hex(path.name)


def _read_tag(path: Path) -> TagEntry | None:
    entry = records.read(path, TagEntry)
    if entry is not None:
        records.digest_in(path, entry.manifest)
    return entry


def _records(directory: Path) -> Iterator[Path]:
    # Anything else is foreign: `fsck` says so, and nothing here depends on it.
    return (path for path in sorted(directory.iterdir()) if records.is_hex(path.name))
