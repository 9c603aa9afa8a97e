"""Adding to a store: one `Addition` per pull, load, import or build.

Plan: blobs and layers come first, each whole and on the disk, kept by the addition's lease though
nothing refers to them yet. The image's entry comes next, its tags last. Whoever is killed leaves
blobs and layers that the next one finds, or that gc removes.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from msgspec import structs

from overlayfs_py.image.reference import require_tag_name
from overlayfs_py.store import blobs, coming, downloads, durable, images, layers, locks, names
from overlayfs_py.store.failures import Busy
from overlayfs_py.store.layers import LayerIngest
from overlayfs_py.store.leases import Kind, Lease
from overlayfs_py.store.records import Form, ImageEntry

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.image.config import ImageConfig
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.downloads import Download
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayerFacts
    from overlayfs_py.store.locks import StoreLock
    from overlayfs_py.store.places import Places
    from overlayfs_py.store.records import ComingSource, LayerBlob
    from overlayfs_py.store.stored_layer import StoredLayer


class Addition:
    """What is added stays at least until this is closed; what an image refers to, for good.

    Safe to use from several threads, as long as no two work on one layer or download.
    """

    def __init__(self, places: Places, lock: StoreLock, lease: Lease) -> None:
        self._places = places
        self._lock = lock
        self._lease = lease

    @property
    def directory(self) -> Path:
        """A directory of the store for what is unfinished; it goes when this is closed."""
        return self._lease.directory

    def lower(self, stack: Sequence[StoredLayer]) -> tuple[bytes, ...]:
        """What to mount of layers that stay, lowest first: topmost first, as `LayersInUse`."""
        return layers.lower_of(self._places, stack)

    def has_blob(self, digest: Digest) -> bool:
        """Whether a blob is there; it stays."""
        with self._lock.shared():
            self._lease.keep(Kind.BLOB, digest)
            return self._places.blob(digest).is_file()

    def put_blob(self, data: bytes, digest: Digest | None = None) -> Digest:
        """Store bytes, which may be there already; returns their digest.

        Raises:
            DigestMismatch: they are not what `digest` says.
        """
        actual = blobs.require_digest(data, digest)
        self._keep(Kind.BLOB, actual)
        blobs.put(self._places, data, actual, self._lease.directory)
        return actual

    def find_layer(self, diff_id: Digest) -> StoredLayer | None:
        """Return a layer if it is there; it stays."""
        with self._lock.shared():
            self._lease.keep(Kind.LAYER, diff_id)
            return layers.find(self._places, diff_id)

    def find_coming(self, diff_id: Digest) -> tuple[StoredLayer, ComingSource] | None:
        """Return a layer that is coming, and from where, if there is one; it stays."""
        with self._lock.shared():
            self._lease.keep(Kind.LAYER, diff_id)
            layer, source = coming.find(self._places, diff_id), coming.source(self._places, diff_id)
            return None if layer is None or source is None else (layer, source)

    def begin_coming(self, facts: LayerFacts, source: ComingSource, directory: Path) -> None:
        """Let a layer be there of which chunks are still to come.

        `directory`, a scratch directory of this addition, has the pack without them, and the file
        that says which are here. Of two that do so at once the first counts.
        """
        coming.write_records(directory, facts, source)
        with self._lock.shared():
            self._lease.keep(Kind.LAYER, facts.diff_id)
            coming.place(self._places, directory, facts.diff_id)

    def find_layer_of(self, digest: Digest) -> StoredLayer | None:
        """Return the layer whose diff ID, or whose blob's digest, this is; it stays."""
        with self._lock.shared():
            diff_id = layers.find_id(self._places, digest)
        return None if diff_id is None else self.find_layer(diff_id)

    @contextmanager
    def ingest_layer(
        self, diff_id: Digest, form: Form = Form.PACK, *, wait: bool = True
    ) -> Iterator[StoredLayer | LayerIngest]:
        """Give a layer to write, or the layer itself if another process wrote it meanwhile.

        One that is not committed is gone afterwards.

        Raises:
            Busy: another process is writing it just now, and `wait` is false.
        """
        found = self.find_layer(diff_id)
        if found is not None:
            yield found
            return
        with self._own(diff_id, wait=wait):
            found = self.find_layer(diff_id)
            if found is not None:
                yield found
                return
            ingest = LayerIngest(self._lease, diff_id, form)
            try:
                yield ingest
            finally:
                ingest.discard()

    @contextmanager
    def ingest_unknown_layer(self, form: Form = Form.PACK) -> Iterator[LayerIngest]:
        """Give a layer to write whose diff ID its data will tell."""
        ingest = LayerIngest(self._lease, None, form)
        try:
            yield ingest
        finally:
            ingest.discard()

    def commit_layer(self, ingest: LayerIngest, facts: LayerFacts) -> StoredLayer:
        """Make a written layer one of the store; it is on the disk when this returns.

        Raises:
            DigestMismatch: it is another layer than was asked for.
        """
        if ingest.diff_id is not None:
            return self._place(ingest, facts)
        with self._own(facts.diff_id, wait=True):
            found = self.find_layer(facts.diff_id)
            return self._place(ingest, facts) if found is None else found

    def scratch_file(self) -> BinaryIO:
        """Return an empty file without a name, on the store's disk; the caller closes it."""
        import tempfile  # takes 7 ms with what it brings

        return tempfile.TemporaryFile(dir=self._lease.directory)

    @contextmanager
    def scratch_directory(self) -> Iterator[Path]:
        """Give an empty directory of this process alone, on the store's disk, gone afterwards."""
        path = self._lease.new_path()
        path.mkdir(mode=0o700)
        try:
            yield path
        finally:
            if path.exists():
                durable.remove(path)

    def note_blob(self, diff_id: Digest, blob: LayerBlob) -> None:
        """Note what else a layer of the store is compressed as, or where else it can be had."""
        with self._lock.exclusive():
            layers.add_blob(self._places, diff_id, blob)

    def note_pushed(self, manifest: Digest, repo_digest: str) -> None:
        """Note that an image is in a registry as `repo_digest`, `docker.io/x/y@sha256:...`."""
        with self._lock.exclusive():
            names.add_pushed(self._places, manifest, repo_digest)

    def download(self, digest: Digest, *, wait: bool = True) -> AbstractContextManager[Download]:
        """Give the download of a blob to this process alone, with what arrived before.

        Raises:
            Busy: another process is at it, and `wait` is false.
        """
        return downloads.download(self._places, digest, wait=wait)

    def forget_download(self, digest: Digest) -> None:
        """Remove what was left of a download by who was killed when its layer was there already."""
        downloads.forget(self._places, digest)

    def keep_download(self, download: Download, digest: Digest) -> None:
        """Make a whole download, whose digest the caller has checked, a blob of the store."""
        self._keep(Kind.BLOB, digest)
        blobs.adopt(self._places, download.path, digest)

    def add_image(
        self,
        manifest: Manifest,
        *,
        references: Sequence[Reference] = (),
        index: Digest | None = None,
        repositories: Sequence[str] = (),
        whole: bool = True,
    ) -> StoredImage:
        """Make a manifest an image and let references name it: the last step of every addition.

        The manifest, its config and the layers must have been put or found by this addition.

        Args:
            manifest: whose bytes are a blob already.
            references: with a tag each; they name nothing else any more.
            index: the digest of the index that it was chosen from, kept if it is a blob.
            repositories: where the manifest, or the index, can be pulled from.
            whole: whether all layers have to be whole; else some may be coming.

        Raises:
            NotInStore: a blob or a layer of it is missing; nothing is changed.
            BadReference: no image can have one of the names; nothing is changed.
        """
        for reference in references:
            require_tag_name(reference)
        with self._lock.exclusive():
            config = images.require_parts(self._places, manifest, whole=whole)
            entry = structs.replace(
                _entry(manifest, config), index=index or "", repositories=tuple(repositories)
            )
            names.put_entry(self._places, entry)
            for reference in references:
                names.put_tag(self._places, reference, manifest.digest)
            return images.require(self._places, manifest.digest)

    def look_at_image(self, manifest: Manifest) -> StoredImage:
        """What `add_image` would return, with nothing added: it goes when this is closed.

        Raises:
            NotInStore: a blob or a layer of it is missing.
        """
        with self._lock.shared():
            config = images.require_parts(self._places, manifest)
            return images.unnamed(self._places, _entry(manifest, config))

    def close(self) -> None:
        """Keep only what images refer to."""
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, kind: Kind, digest: Digest) -> None:
        with self._lock.shared():
            self._lease.keep(kind, digest)

    @contextmanager
    def _own(self, diff_id: Digest, *, wait: bool) -> Iterator[None]:
        path = self._places.layer_ingest(diff_id)
        if wait:
            lock: locks.Lock | None = locks.acquire(path, locks.Mode.EXCLUSIVE)
        else:
            lock = locks.try_acquire(path, locks.Mode.EXCLUSIVE)
        if lock is None:
            raise Busy(diff_id)
        with lock:
            yield

    def _place(self, ingest: LayerIngest, facts: LayerFacts) -> StoredLayer:
        record = ingest.finish(facts)
        with self._lock.shared():
            self._lease.keep(Kind.LAYER, facts.diff_id)
            return ingest.place(self._places, record)


def _entry(manifest: Manifest, config: ImageConfig) -> ImageEntry:
    return ImageEntry(
        manifest=manifest.digest,
        media_type=manifest.media_type,
        config=config.image_id,
        added_ns=time.time_ns(),
    )
