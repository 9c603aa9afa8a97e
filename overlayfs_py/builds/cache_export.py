"""Exporting what a build has used of its cache: to a registry, or a directory.

Plan: all that needs a process of its own comes first, which is to gather records and tables and to
make layers of cache mounts; then everything goes out under trio, layers first, the manifest last.
"""

from __future__ import annotations

import zlib
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from overlayfs_py.builds import keys, mount_layers
from overlayfs_py.builds.cache_document import (
    CONFIG_TYPE,
    TABLE_TYPE,
    VERSION,
    CacheDocument,
    MountForm,
    StepForm,
    encode,
)
from overlayfs_py.builds.events import CacheMoved, Notice, Way
from overlayfs_py.builds.imported import counted
from overlayfs_py.errors import OverlayError, describe
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import Digest, digest_of
from overlayfs_py.image.manifest import MOST_LAYERS, build_manifest
from overlayfs_py.image.media_types import Kind
from overlayfs_py.image.units import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.builds.build import Built
    from overlayfs_py.builds.imported import CacheSource, Imported, Tell
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer
    from overlayfs_py.transfer.artifacts import ArtifactPlace, OpenPlace

LARGEST_MOUNT = 2 << 30
_LARGEST_TABLE = 4 << 20  # compressed
_GZIP = 16 + zlib.MAX_WBITS
_LEVEL = 6


class Mode(Enum):
    """Whose layers go out; what steps there are is told of all."""

    MIN = "min"  # those of the image
    MAX = "max"  # those of all stages


class ExportWanted(Struct, frozen=True):
    """One `--cache-to`."""

    place: ArtifactPlace
    mode: Mode = Mode.MIN
    all_mounts: bool = False
    mounts: frozenset[str] = frozenset()  # or those of these IDs
    largest_mount: int = LARGEST_MOUNT  # bytes of files
    ignores_errors: bool = False

    def takes(self, ident: str) -> bool:
        """Whether a cache mount goes out."""
        return self.all_mounts or ident in self.mounts


class _Gathered(Struct):
    steps: list[StepForm] = field(default_factory=list)
    tables: dict[str, bytes] = field(default_factory=dict)  # compressed
    layers: dict[str, StoredLayer] = field(default_factory=dict)  # those that are here
    of_image: frozenset[str] = frozenset()
    selections: tuple[tuple[str, str], ...] = ()
    mounts: dict[str, str] = field(default_factory=dict)  # diff IDs, by the mounts' IDs


class _Out(Struct):
    """What is at the place, and what of that is new there."""

    layers: dict[str, Descriptor] = field(default_factory=dict)
    tables: dict[str, Descriptor] = field(default_factory=dict)
    new: int = 0
    size: int = 0

    def add(self, size: int, *, is_new: bool) -> None:
        self.new += is_new
        self.size += size if is_new else 0


class Exporter:
    """Exports the cache of one build to several places; the process has one thread until then."""

    def __init__(
        self, store: Store, addition: Addition, imported: Imported, built: Built, tell: Tell
    ) -> None:
        self._store = store
        self._addition = addition
        self._imported = imported
        self._built = built
        self._tell = tell
        self._gathered = _Gathered()

    def gather(self, wanted: Sequence[ExportWanted]) -> None:
        """Get ready all that goes out anywhere."""
        gathered, built = self._gathered, self._built
        gathered.of_image = frozenset(built.target.diff_ids)
        selections = dict(pair for state in built.states for pair in state.selections)
        gathered.selections = tuple(sorted(selections.items()))
        for key in dict.fromkeys(key for state in built.states for key in state.steps):
            self._gather_step(key)
        for ident in dict.fromkeys(each for state in built.states for each in state.cache_mounts):
            self._gather_mount(ident, wanted)

    async def export(self, wanted: ExportWanted) -> None:
        """Export to one place.

        Raises:
            OSError: naming what cannot be put there. The cache that was there before still is.
        """
        from overlayfs_py.transfer.failing import run_together
        from overlayfs_py.transfer.pull import PARALLEL

        gathered, out = self._gathered, _Out()
        mounts = {i: layer for i, layer in gathered.mounts.items() if wanted.takes(i)}
        layers = dict.fromkeys((*self._step_layers(wanted), *mounts.values()))
        queue = iter(list(layers)[: MOST_LAYERS - 1])
        async with wanted.place.open() as place:

            async def work() -> None:
                for diff_id in queue:
                    await self._put_layer(place, diff_id, out)

            await run_together([work] * PARALLEL)
            # The same cache gives the same manifest, whichever layer was there first.
            out.layers = {each: out.layers[each] for each in layers if each in out.layers}
            room = MOST_LAYERS - len(out.layers)
            for digest, packed in list(gathered.tables.items())[:room]:
                out.add(len(packed), is_new=await place.put_blob(packed))
                out.tables[digest] = Descriptor(TABLE_TYPE, digest_of(packed), len(packed))
            mounts = {ident: layer for ident, layer in mounts.items() if layer in out.layers}
            manifest, config = self._documents(out, mounts)
            out.size += len(config) if await place.put_blob(config) else 0
            await place.put_manifest(manifest)
        self._say(wanted, out, len(mounts))

    # Gathering.

    def _gather_step(self, key: Digest) -> None:
        gathered, record = self._gathered, self._store.builds.find(key)
        elsewhere = self._imported.find(key)
        layer = None if record is None else self._addition.find_layer(Digest(record.layer))
        if record is not None and layer is not None:
            size, table = layer.record.tar_size, self._store.builds.table(record)
        elif elsewhere is not None:
            record, size = elsewhere.record, elsewhere.form.tar_size
            table = self._imported.table(elsewhere, self._addition)
            layer = self._addition.find_layer(Digest(record.layer))
        else:
            return  # pruned meanwhile
        if layer is not None:
            gathered.layers[record.layer] = layer
        packed = _packed(table) if record.table and table else b""
        if packed and len(packed) <= _LARGEST_TABLE:
            gathered.tables[record.table] = packed
        gathered.steps.append(
            StepForm(
                key=record.key,
                instruction=record.instruction,
                place=record.place,
                parts=record.parts,
                layer=record.layer,
                tar_size=size,
                created_ns=record.created_ns,
                seconds=record.seconds,
                table=record.table,
            )
        )

    def _gather_mount(self, ident: str, wanted: Sequence[ExportWanted]) -> None:
        if not any(each.takes(ident) for each in wanted):
            why = "who can read the cache could read it: mounts=all of --cache-to"
            self._tell(Notice(f"cache mount {ident} is not exported ({why})"))
            return
        mounts = self._store.builds.mounts
        directory = mounts.find(ident)
        if directory is None:
            self._keep_imported(ident)
            return
        held = mounts.try_hold(directory)
        if held is None:
            self._tell(Notice(f"cache mount {ident} is not exported: another build has it now"))
            self._keep_imported(ident)
            return
        try:
            if mount_layers.is_empty(held.data):
                self._keep_imported(ident)
                return
            layer = mount_layers.make_layer(self._addition, held.data)
        except OverlayError as error:
            self._tell(Notice(f"cache mount {ident} is not exported: {describe(error)}"))
            return
        finally:
            held.close()
        most = max(each.largest_mount for each in wanted if each.takes(ident))
        if layer.record.files_size > most:
            size = human_size(layer.record.files_size)
            limit = f"more than {human_size(most)} (mount-size= of --cache-to)"
            self._tell(Notice(f"cache mount {ident} is not exported: {size}, {limit}"))
            return
        self._gathered.layers[layer.diff_id] = layer
        self._gathered.mounts[ident] = layer.diff_id

    def _keep_imported(self, ident: str) -> None:
        """Let the cache go on having what another one has, where nothing newer is here."""
        found = self._imported.mount(ident)
        if found is not None:
            self._gathered.mounts[ident] = found[1].layer

    # Exporting.

    def _step_layers(self, wanted: ExportWanted) -> Iterator[str]:
        for step in self._gathered.steps:
            if wanted.mode is Mode.MAX or step.layer in self._gathered.of_image:
                yield step.layer

    async def _put_layer(self, place: OpenPlace, diff_id: str, out: _Out) -> None:
        """Have a layer at the place; one that is nowhere is left out."""
        import trio

        layer = self._gathered.layers.get(diff_id)
        if layer is None:
            source = self._imported.source_of(diff_id)
            if source is None:
                return
            blob = source.layers[diff_id]
            if await place.has_blob(blob.digest):
                out.layers[diff_id] = blob
                return
            await self._bring(source, blob, Digest(diff_id))
            layer = await trio.to_thread.run_sync(self._addition.find_layer, Digest(diff_id))
            if layer is None:
                return
        put = await place.put_layer(layer, self._addition)
        out.layers[diff_id] = put.blob
        out.add(put.blob.size, is_new=put.is_new)

    async def _bring(self, source: CacheSource, blob: Descriptor, diff_id: Digest) -> None:
        try:
            async with source.place.open() as opened:
                await opened.bring_layer(blob, diff_id, self._addition)
        except OverlayError as error:
            self._tell(Notice(f"cache of {source.name}: {describe(error)}; exported without it"))

    def _documents(self, out: _Out, mounts: dict[str, str]) -> tuple[Manifest, bytes]:
        gathered = self._gathered
        config = encode(
            CacheDocument(
                version=VERSION,
                keys=keys.VERSION,
                layers=tuple(out.layers),
                tables=tuple(out.tables),
                steps=tuple(gathered.steps),
                selections=gathered.selections,
                mounts=tuple(MountForm(id=i, layer=layer) for i, layer in mounts.items()),
            )
        )
        manifest = build_manifest(
            Kind.OCI,
            Descriptor(CONFIG_TYPE, digest_of(config), len(config)),
            [*out.layers.values(), *out.tables.values()],
            artifact_type=CONFIG_TYPE,
        )
        return manifest, config

    def _say(self, wanted: ExportWanted, out: _Out, mounts: int) -> None:
        steps, there = len(self._gathered.steps), len(out.layers) + len(out.tables) - out.new
        told = [counted(steps, "step"), counted(len(out.layers) - mounts, "layer")]
        told += [counted(mounts, "cache mount")] if mounts else []
        text = f"{', '.join(told)}; {human_size(out.size)} written, {there} blobs were there"
        self._tell(
            CacheMoved(
                Way.EXPORT, wanted.place.name, text, steps, len(out.layers), mounts, out.size
            )
        )


def _packed(table: bytes) -> bytes:
    packing = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
    return packing.compress(table) + packing.flush()
