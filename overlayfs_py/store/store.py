"""The one door to a store: a directory, and nothing that runs.

Any number of processes may use a store at once. Every call is atomic to all others and durable
when it returns; what was killed or found no room has changed nothing. docs/STORE.md has the files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.digest import Digest
from overlayfs_py.store import blobs, durable, images, layers, leases, names, records, resolving
from overlayfs_py.store.additions import Addition
from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.store.locks import StoreLock
from overlayfs_py.store.places import Places
from overlayfs_py.store.records import VERSION, StoreVersion

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse, StoredLayer


class Store:
    """An open store. Holds no descriptor and no lock between calls."""

    def __init__(self, places: Places) -> None:
        self._places = places
        self._lock = StoreLock(places.locks)

    @classmethod
    def open(cls, root: Path) -> Store:
        """Open the store at `root`, made if it is not there.

        Raises:
            CorruptStore: what is there is no store, or one of a later version.
        """
        places = Places(root)
        if not places.version.exists():
            _create(places)
        found = records.read(places.version, StoreVersion)
        if found is None or found.kind != StoreVersion().kind:
            raise CorruptStore(str(root), "not a store")
        if found.version != VERSION:
            raise CorruptStore(str(root), f"a store of version {found.version}, not {VERSION}")
        return cls(places)

    @property
    def root(self) -> Path:
        return self._places.root

    def add(self) -> Addition:
        """Begin to add something; close it when all is added."""
        with self._lock.shared():
            return Addition(self._places, self._lock, leases.start(self._places.staging))

    # Looking.

    def images(self) -> list[StoredImage]:
        """All images, with tags and without, the one added last first."""
        with self._lock.shared():
            return images.all_images(self._places)

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

    def find_layer(self, diff_id: Digest) -> StoredLayer | None:
        """Return a layer, None if it is not there; nothing keeps it from going."""
        with self._lock.shared():
            return layers.find(self._places, diff_id)

    def use_layers(self, diff_ids: Sequence[Digest]) -> LayersInUse:
        """Keep layers, lowest first, for as long as a process has them mounted.

        A process forked meanwhile keeps them, too, until it ends.

        Raises:
            NotInStore: one is not there.
        """
        with self._lock.shared():
            return layers.use(self._places, diff_ids)

    # Naming.

    def tag(self, text: str, reference: Reference) -> None:
        """Let a reference with a tag name the image that is meant by `text`.

        Raises:
            NotInStore, Ambiguous: as `image`.
        """
        with self._lock.exclusive():
            entry, _ = resolving.resolve(self._places, text)
            names.put_tag(self._places, reference, Digest(entry.manifest))


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
    ours = {directory.name for directory in places.directories} | {places.version.name}
    return {path.name for path in places.root.iterdir()} <= ours
