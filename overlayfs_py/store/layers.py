"""Layers: each is one directory, `layers/HEX`, that appears whole and goes as a whole."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec import structs

from overlayfs_py.image.digest import Digest, DigestMismatch, digest_of_hex
from overlayfs_py.store import coming, durable, locks, records
from overlayfs_py.store.failures import CorruptStore, NotInStore
from overlayfs_py.store.places import PACK, RECORD, TREE
from overlayfs_py.store.records import Form, LayerBlob, LayerRecord
from overlayfs_py.store.stored_layer import StoredLayer
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.store.leases import Lease
    from overlayfs_py.store.places import Places

_ROOT_MODE = 0o755
_SECTOR = 512  # what st_blocks counts, on every filesystem
_CONTENT = {Form.PACK: PACK, Form.TREE: TREE}


class LayerFacts(msgspec.Struct, frozen=True):
    """What was seen of a layer while it was written."""

    diff_id: Digest  # computed from the tar, not taken from a config
    tar_size: int  # bytes of the tar
    files_size: int  # what its regular files add up to, a hard link counted once
    pack: str = ""  # the pack's own digest
    blob: LayerBlob | None = None  # what it was compressed as


class LayerIngest:
    """A layer that is being written: to `path`, below a lease, unseen until it is committed."""

    def __init__(self, lease: Lease, diff_id: Digest | None, form: Form) -> None:
        self._directory = lease.new_path()
        self.diff_id = diff_id  # None where only its data will tell
        self.form = form
        self._directory.mkdir(mode=0o700)

    @property
    def path(self) -> Path:
        """The pack to write, or the directory to make: not there yet."""
        return self._directory / _CONTENT[self.form]

    def clear(self) -> None:
        """Forget what was written so far."""
        for name in os.listdir(self._directory):
            durable.remove(self._directory / name)

    def finish(self, facts: LayerFacts) -> LayerRecord:
        """Make all of it ready and safe on the disk; `place` then puts it where it belongs.

        Raises:
            DigestMismatch: it is another layer than was asked for.
        """
        if self.diff_id not in (None, facts.diff_id):
            raise DigestMismatch("layer", self.diff_id, facts.diff_id)
        record = LayerRecord(
            diff_id=facts.diff_id,
            form=self.form,
            tar_size=facts.tar_size,
            files_size=facts.files_size,
            stored_size=size_on_disk(self.path),
            blobs=() if facts.blob is None else (facts.blob,),
            pack=facts.pack,
        )
        durable.write_file(self._directory / RECORD, records.encode(record), self._directory)
        if self.form is Form.PACK:
            durable.sync_file(self.path)
        else:
            files.sync_filesystem(os.fsencode(self.path))
        durable.sync_directory(self._directory)
        return record

    def place(self, places: Places, record: LayerRecord) -> StoredLayer:
        """Put the finished layer in its place, where none may be.

        The store's lock and the layer's ingest lock must be held.
        """
        diff_id = Digest(record.diff_id)
        _replace(self._directory, places.layer(diff_id))
        durable.sync_directory(places.layers)
        return StoredLayer(diff_id, record, _content(places, record))

    def discard(self) -> None:
        """Remove what is not committed."""
        if self._directory.exists():
            durable.remove(self._directory)


def _replace(staged: Path, place: Path) -> None:
    """Move a directory to its place; what may be there has no record and is no layer."""
    try:
        os.rename(staged, place)
    except OSError:
        if not place.exists():
            raise
        durable.remove(place)
        os.rename(staged, place)


def find(places: Places, diff_id: Digest) -> StoredLayer | None:
    """Return a layer, None if it is not there.

    Raises:
        CorruptStore: its record is none, or is another layer's.
    """
    path = places.layer_record(diff_id)
    record = records.read(path, LayerRecord)
    if record is None:
        return None
    if record.diff_id != diff_id:
        raise CorruptStore(str(path), f"the record of {record.diff_id}")
    return StoredLayer(diff_id, record, _content(places, record))


def find_id(places: Places, digest: Digest) -> Digest | None:
    """Return the diff ID of the layer that is called by a digest, its own or a blob's."""
    if find(places, digest) is not None:
        return digest
    for diff_id in all_ids(places):
        layer = find(places, diff_id)
        if layer is not None and any(blob.digest == digest for blob in layer.record.blobs):
            return diff_id
    return None


def require(places: Places, diff_id: Digest) -> StoredLayer:
    """Return a layer.

    Raises:
        NotInStore: it is not there.
    """
    found = find(places, diff_id)
    if found is None:
        raise NotInStore(diff_id, "layer")
    return found


def find_usable(places: Places, diff_id: Digest) -> StoredLayer | None:
    """Return a layer that can be mounted, which need not be whole.

    Raises:
        CorruptStore: its record is invalid, or is another layer's.
    """
    found = find(places, diff_id)
    return coming.find(places, diff_id) if found is None else found


def require_usable(places: Places, diff_id: Digest) -> StoredLayer:
    """Return a layer that can be mounted, which need not be whole.

    Raises:
        NotInStore: it is not there.
    """
    found = find_usable(places, diff_id)
    if found is None:
        raise NotInStore(diff_id, "layer")
    return found


def all_ids(places: Places) -> list[Digest]:
    """The diff IDs of all layers, whole or not."""
    names = sorted(path.name for path in places.layers.iterdir())
    return [digest_of_hex(name) for name in names if records.is_hex(name)]


def add_blob(places: Places, diff_id: Digest, blob: LayerBlob) -> None:
    """Note a compressed form of a layer, or another place to have it from.

    The store's lock must be held exclusively.
    """
    layer = require(places, diff_id)
    others = [known for known in layer.record.blobs if known.digest != blob.digest]
    same = next((known for known in layer.record.blobs if known.digest == blob.digest), None)
    if same is not None:
        sources = dict.fromkeys((*blob.sources, *same.sources))
        blob = structs.replace(same, sources=tuple(sources), recipe=blob.recipe or same.recipe)
    if blob != same:
        record = structs.replace(layer.record, blobs=(blob, *others))
        place = places.layer_record(diff_id)
        durable.write_file(place, records.encode(record), places.staging)


def use(places: Places, diff_ids: Sequence[Digest], manifest: Digest | None) -> LayersInUse:
    """Keep layers, lowest first, and maybe an image, for as long as a process uses them.

    The store's lock must be held.

    Raises:
        NotInStore: one is not there; none is held then.
    """
    if not diff_ids:
        _make_empty(places.empty)
    with ExitStack() as held:
        found = [require_usable(places, diff_id) for diff_id in diff_ids]
        try:
            for digest in {*diff_ids, *((manifest,) if manifest else ())}:
                held.enter_context(locks.acquire(places.use(digest), locks.Mode.SHARED))
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            # Read-only here, not for others perhaps: they ask about the layers themselves, too.
            for layer in found:
                directory = Path(os.fsdecode(layer.path)).parent
                held.enter_context(locks.hold_directory(directory))
        return LayersInUse(found, held.pop_all(), os.fsencode(places.empty))


def _make_empty(path: Path) -> None:
    path.mkdir(exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != _ROOT_MODE:  # whatever the umask
        path.chmod(_ROOT_MODE)


class LayersInUse:
    """Layers that stay. Processes forked meanwhile keep them too, until they end."""

    def __init__(self, layers: Sequence[StoredLayer], held: ExitStack, empty: bytes) -> None:
        self.layers = tuple(layers)  # lowest first, as a config has them
        self._held = held
        self._empty = empty

    @property
    def lower(self) -> tuple[bytes, ...]:
        """What to mount, topmost first; an empty directory for an image without layers.

        Of a layer that an image has twice the upper one hides all that the other shows.
        """
        return _topmost_first(self.layers) or (self._empty,)

    def close(self) -> None:
        """Let go of them, as far as this process goes."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def lower_of(places: Places, stack: Sequence[StoredLayer]) -> tuple[bytes, ...]:
    """What to mount of layers that somebody keeps: as `LayersInUse.lower`."""
    if not stack:
        _make_empty(places.empty)
    return _topmost_first(stack) or (os.fsencode(places.empty),)


def _topmost_first(stack: Sequence[StoredLayer]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(layer.path for layer in reversed(stack)))


def size_on_disk(path: Path) -> int:
    """The bytes that a file or a tree takes up, a hard link counted once.

    What goes meanwhile does not count: what is out of sight is deleted without a lock.
    """
    sizes = {(status.st_dev, status.st_ino): status.st_blocks for status in _statuses(path)}
    return sum(sizes.values()) * _SECTOR


def _statuses(path: Path) -> Iterator[os.stat_result]:
    pending = [os.fsencode(path)]
    while pending:
        inner = pending.pop()
        with suppress(FileNotFoundError):
            status = os.lstat(inner)
            yield status
            if stat.S_ISDIR(status.st_mode):
                pending += (os.path.join(inner, name) for name in os.listdir(inner))


def _content(places: Places, record: LayerRecord) -> bytes:
    return os.fsencode(places.layer(Digest(record.diff_id)) / _CONTENT[record.form])
