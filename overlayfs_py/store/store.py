"""The one door to a store: a directory, and nothing that runs.

Any number of processes may use a store at once. Every call is atomic to all others and durable
when it returns; what was killed or found no room has changed nothing. docs/STORE.md has the files.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image.digest import Digest
from overlayfs_py.late_import import LateModule
from overlayfs_py.store import names, records
from overlayfs_py.store.failures import CorruptStore, NoStore
from overlayfs_py.store.locks import StoreLock
from overlayfs_py.store.places import Places
from overlayfs_py.store.records import VERSION, StoreVersion

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store import (
        additions,
        blobs,
        builds,
        checking,
        collection,
        coming,
        containers,
        durable,
        finishing,
        images,
        layers,
        leases,
        removal,
        repairing,
        resolving,
        usage,
        volumes,
    )
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.builds import Builds
    from overlayfs_py.store.checking import Problem
    from overlayfs_py.store.containers import Containers
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse
    from overlayfs_py.store.records import ComingSource
    from overlayfs_py.store.removal import Unnamed
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.store.usage import Usage
    from overlayfs_py.store.volumes import Volumes
else:
    # The TAB key asks for names alone, a list for images; neither changes, checks nor measures
    # a store: more than half of the start.
    additions = LateModule("overlayfs_py.store.additions")
    blobs = LateModule("overlayfs_py.store.blobs")
    builds = LateModule("overlayfs_py.store.builds")
    checking = LateModule("overlayfs_py.store.checking")
    collection = LateModule("overlayfs_py.store.collection")
    coming = LateModule("overlayfs_py.store.coming")
    containers = LateModule("overlayfs_py.store.containers")
    durable = LateModule("overlayfs_py.store.durable")
    finishing = LateModule("overlayfs_py.store.finishing")
    images = LateModule("overlayfs_py.store.images")
    layers = LateModule("overlayfs_py.store.layers")
    leases = LateModule("overlayfs_py.store.leases")
    removal = LateModule("overlayfs_py.store.removal")
    repairing = LateModule("overlayfs_py.store.repairing")
    resolving = LateModule("overlayfs_py.store.resolving")
    usage = LateModule("overlayfs_py.store.usage")
    volumes = LateModule("overlayfs_py.store.volumes")


class Removal(msgspec.Struct, frozen=True):
    """What was removed."""

    untagged: tuple[str, ...]  # in full: `docker.io/library/debian:12`, `...@sha256:...`
    deleted: tuple[Digest, ...]  # image IDs, then chain IDs that no image has any more, top first
    freed_bytes: int


class Store:
    """An open store. Holds no descriptor and no lock between calls."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = StoreLock(places.locks)

    @classmethod
    def open(cls, root: str | os.PathLike[str], *, create: bool = True) -> Store:
        """Open the store at `root`, made if it is not there.

        Raises:
            NoStore: nothing is there, and `create` is false.
            CorruptStore: what is there is no store, or one of a later version.
        """
        root = Path(root).absolute()  # a container's monitor works from another directory
        places = Places(root)
        if not places.version.exists():
            if not create and not root.exists():
                raise NoStore(str(root))
            _create(places)
        found = records.read(places.version, StoreVersion)
        if found is None or found.kind != StoreVersion().kind:
            raise CorruptStore(str(root), "not a store")
        if found.version != VERSION:
            raise CorruptStore(str(root), f"a store of version {found.version}, not {VERSION}")
        return cls(places)

    def __repr__(self) -> str:
        return f"<Store {self.root}>"

    @property
    def root(self) -> Path:
        return self._places.root

    @property
    def containers(self) -> Containers:
        """What was made of its images."""
        return containers.Containers(self._places, self._lock)

    @property
    def builds(self) -> Builds:
        """What builds have made, and may use again."""
        return builds.Builds(self._places, self._lock)

    @property
    def volumes(self) -> Volumes:
        """What outlives containers."""
        return volumes.Volumes(self._places, self._lock)

    def add(self) -> Addition:
        """Begin to add something; close it when all is added."""
        with self._lock.shared():
            return additions.Addition(self._places, self._lock, leases.start(self._places.staging))

    # Looking.

    def images(self) -> list[StoredImage]:
        """All images, with tags and without, the one added last first."""
        with self._lock.shared():
            return self._all_images()

    def _all_images(self) -> list[StoredImage]:
        return images.all_images(self._places)

    def references(self) -> list[str]:
        """All names in full, `docker.io/library/debian:12`, in their order; no image is read."""
        with self._lock.shared():
            return [tag.reference for tag in names.all_tags(self._places)]

    def image(self, text: str) -> StoredImage:
        """The image that a person means by a name, an ID, the beginning of one, or a digest.

        Raises:
            NotInStore: there is none.
            Ambiguous: several IDs begin so.
        """
        with self._lock.shared():
            entry, _ = resolving.resolve(self._places, text)
            return images.require(self._places, Digest(entry.manifest))

    def read_blob(self, digest: Digest) -> bytes:
        """A blob's bytes, checked.

        Raises:
            NotInStore: it is not there.
            DigestMismatch: the disk gives other bytes than were written.
        """
        with self._lock.shared():
            return blobs.read(self._places, digest)

    def open_blob(self, digest: Digest) -> BinaryIO | None:
        """Open a blob of any size, unchecked; None if it is not there. What is open stays."""
        with self._lock.shared():
            return blobs.open_blob(self._places, digest)

    def find_layer(self, diff_id: Digest) -> StoredLayer | None:
        """Return a layer, whole or coming, None if it is not there; nothing keeps it from going."""
        with self._lock.shared():
            return layers.find_usable(self._places, diff_id)

    def use_image(self, text: str) -> tuple[StoredImage, LayersInUse]:
        """Keep an image, and its layers, for as long as a process has it mounted.

        Raises:
            NotInStore, Ambiguous: as `image`.
        """
        with self._lock.shared():
            entry, _ = resolving.resolve(self._places, text)
            image = images.require(self._places, Digest(entry.manifest))
            diff_ids = image.config.diff_ids
            return image, layers.use(self._places, diff_ids, image.manifest.digest)

    def usage(self) -> Usage:
        """What its room is used for."""
        with self._lock.exclusive():
            return usage.usage(self._places)

    def check(self, *, deep: bool = False) -> Iterator[Problem]:
        """Yield everything that is wrong; all data is read. Others may use the store meanwhile.

        With `deep` each layer's tar is made again, and has to have the layer's diff ID.
        """
        return checking.problems(self._places, self._lock, deep=deep)

    def repair(self, problem: Problem) -> str:
        """Move what is wrong out of the way; returns what was done.

        Done before the next problem is asked for, that one already tells what followed from it.
        """
        with self._lock.exclusive():
            return repairing.repair(self._places, problem)

    # Layers that are coming.

    @property
    def coming(self) -> Path:
        """The directory of layers of which chunks are still to come, made if it is not there."""
        self._places.coming.mkdir(mode=0o700, exist_ok=True)
        return self._places.coming

    def coming_layers(self) -> list[tuple[Path, ComingSource]]:
        """The directory of each, and where its chunks come from; damaged ones are left out."""
        with self._lock.shared():
            return coming.all_sources(self._places)

    def finish_coming(self, diff_id: Digest) -> str | None:
        """Make a layer one like all others, all of whose chunks are here.

        Returns what is wrong with it, if it is not what it should be; then it is no layer any more,
        unless some of it has to come again.
        """
        return finishing.finish(self._places, self._lock, diff_id)

    # Naming.

    def tag(self, text: str, reference: Reference) -> None:
        """Let a reference with a tag name the image that is meant by `text`.

        Raises:
            NotInStore, Ambiguous: as `image`.
        """
        with self._lock.exclusive():
            entry, _ = resolving.resolve(self._places, text)
            names.put_tag(self._places, reference, Digest(entry.manifest))

    # Removing.

    def remove_image(self, text: str, *, force: bool = False) -> Removal:
        """Take away a name, and an image with its last one, and what only that image needed.

        Raises:
            NotInStore, Ambiguous: as `image`.
            InUse: the image is mounted, or was given by its ID and has names in several
                repositories, and `force` is false.
        """
        return self._remove(lambda: removal.remove(self._places, text, force=force), rubbish=False)

    def prune(
        self, *, tagged: bool = False, fits: Callable[[StoredImage], bool] | None = None
    ) -> Removal:
        """Remove images without a tag, with `tagged` all that are not mounted; then `collect`.

        Where `fits` is given only those that it is true of; a damaged one fits nothing.
        """

        def names_away() -> Unnamed:
            entries = (names.all_entries if tagged else removal.dangling)(self._places)
            if fits is not None:
                fitting = {each.entry.manifest for each in self._all_images() if fits(each)}
                entries = [entry for entry in entries if entry.manifest in fitting]
            return removal.remove_all(self._places, entries)

        return self._remove(names_away, rubbish=True)

    def collect(self) -> Removal:
        """Delete what no image needs, what killed processes left, and what is in quarantine."""
        return self._remove(removal.Unnamed, rubbish=True)

    def _remove(self, names_away: Callable[[], Unnamed], *, rubbish: bool) -> Removal:
        with self._lock.exclusive():
            chains = images.chains(self._places)
            unnamed = names_away()
            collected = collection.collect(self._places, rubbish=rubbish)
        collected.sweep()
        gone = [chains.pop(entry.manifest, ()) for entry in unnamed.entries]
        remaining = set(itertools.chain.from_iterable(chains.values()))
        ids = [Digest(entry.config) for entry in unnamed.entries]
        stacks = [chain for stack in gone for chain in reversed(stack) if chain not in remaining]
        deleted = tuple(dict.fromkeys((*ids, *stacks)))
        return Removal(unnamed.untagged, deleted, collected.freed_bytes)


def _create(places: Places) -> None:
    """Make the directories, then the file that makes them a store; two may do so at once."""
    if places.root.is_dir() and not _may_become_store(places):
        raise CorruptStore(str(places.root), "neither a store nor an empty directory")
    places.root.parent.mkdir(parents=True, exist_ok=True)
    for directory in places.directories:
        # The root hides all: layers hold what their images' own modes keep from other users.
        directory.mkdir(mode=0o700, exist_ok=True)
    version = records.encode(StoreVersion())
    durable.write_file(places.version, version, places.staging)
    durable.sync_directory(places.root.parent)


def _may_become_store(places: Places) -> bool:
    """Whether only parts of a store are there, as one who was killed while making it leaves."""
    ours = {path.name for path in (*places.directories, places.version, places.empty)}
    return {path.name for path in places.root.iterdir()} <= ours
