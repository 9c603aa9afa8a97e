"""What other caches know that a build was told of: steps, and where their layers are to be had.

A record of theirs decides that a step is a hit of this build and of no other: none is kept. What it
has made is fetched once somebody wants to see it.
"""

from __future__ import annotations

import json
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from overlayfs_py.builds.apart import apart
from overlayfs_py.builds.cache_document import TABLE_TYPE, decode
from overlayfs_py.builds.events import CacheMoved, Notice, Way
from overlayfs_py.builds.failures import BuildFailure
from overlayfs_py.errors import Failure, OverlayError, describe
from overlayfs_py.image.manifest import parse_image_manifest
from overlayfs_py.image.units import human_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from overlayfs_py.builds.cache_document import CacheDocument, MountForm, StepForm
    from overlayfs_py.builds.events import Event
    from overlayfs_py.image.descriptor import Descriptor
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.build_records import StepRecord
    from overlayfs_py.transfer.artifacts import ArtifactPlace

    Tell = Callable[[Event], None]

_LARGEST_TABLE = 16 << 20
_GZIP = 16 + zlib.MAX_WBITS


class LayersGone(BuildFailure):
    """Layers that a cache has told of are not to be had: what follows from them is void."""

    def __init__(self, name: str, why: str, gone: Iterable[Digest]) -> None:
        super().__init__(name, why)
        self.gone = tuple(gone)


class CacheSource(Struct, frozen=True, eq=False):
    """One cache that was read."""

    place: ArtifactPlace
    document: CacheDocument
    layers: dict[str, Descriptor]  # by their diff IDs
    tables: dict[str, Descriptor]
    size: int  # bytes that came so far: of its manifest and its config

    @property
    def name(self) -> str:
        return self.place.name


class ImportedStep(Struct, frozen=True):
    """A step that a cache knows."""

    form: StepForm
    source: CacheSource

    @property
    def record(self) -> StepRecord:
        return self.form.record


class Imported:
    """The caches of one build; of two that know a step the one that was named first counts."""

    def __init__(self, sources: Sequence[CacheSource] = ()) -> None:
        self.sources = tuple(sources)
        self._gone: set[str] = set()
        self._steps: dict[str, ImportedStep] = {}
        self._selections: dict[str, str] = {}
        self._blobs: defaultdict[str, list[CacheSource]] = defaultdict(list)
        for source in sources:
            for form in source.document.steps:
                self._steps.setdefault(form.key, ImportedStep(form, source))
            for key, files in source.document.selections:
                self._selections.setdefault(key, files)
            for diff_id in source.layers:
                self._blobs[diff_id].append(source)

    def find(self, key: Digest) -> ImportedStep | None:
        """Return the step of a key, unless its layer has turned out to be gone."""
        found = self._steps.get(key)
        return None if found is None or found.form.layer in self._gone else found

    def lost(self, key: Digest) -> ImportedStep | None:
        """Return the step of a key whose layer has turned out to be gone."""
        found = self._steps.get(key)
        return found if found is not None and found.form.layer in self._gone else None

    def steps(self) -> Iterator[ImportedStep]:
        """All steps, the one made last first."""
        yield from sorted(self._steps.values(), key=lambda step: -step.form.created_ns)

    def selection(self, key: Digest) -> str:
        """What files of layers came to elsewhere; empty where nobody knows."""
        return self._selections.get(key, "")

    def mount(self, ident: str) -> tuple[CacheSource, MountForm] | None:
        """Return the cache that has a cache mount."""
        for source in self.sources:
            for mount in source.document.mounts:
                if mount.id == ident and mount.layer in source.layers:
                    return source, mount
        return None

    def forget(self, gone: Iterable[str]) -> bool:
        """Let no step be a hit whose layer is one of these; whether that is news."""
        known = {step.form.layer for step in self._steps.values()}
        new = set(gone) & known - self._gone
        self._gone |= new
        return bool(new)

    def source_of(self, diff_id: str) -> CacheSource | None:
        """The first cache that has a layer's blob."""
        return next(iter(self._blobs.get(diff_id, ())), None)

    def bring(self, diff_ids: Sequence[Digest], addition: Addition, tell: Tell) -> None:
        """Have layers in the store, those that are not there fetched; they stay.

        Raises:
            LayersGone: one is nowhere.
        """
        missing = [each for each in dict.fromkeys(diff_ids) if addition.find_layer(each) is None]
        if not missing:
            return
        why = "it has no layers of stages that the image is not made of (mode=min)"
        for source in self.sources:
            wanted = {each: source.layers[each] for each in missing if each in source.layers}
            if not wanted:
                continue
            try:
                _bring(source, wanted, addition, tell)
            except Failure as failure:
                why = str(failure)
            missing = [each for each in missing if addition.find_layer(each) is None]
            if not missing:
                return
        names = {step.source.name for step in self.steps() if step.form.layer in missing}
        raise LayersGone(f"cache of {', '.join(sorted(names)) or 'this store'}", why, missing)

    def table(self, step: ImportedStep, addition: Addition) -> bytes:
        """What was known of the files that a step took; nothing where that is not to be had."""
        blob = step.source.tables.get(step.form.table)
        if blob is None:
            return b""

        async def fetch() -> bytes:
            async with step.source.place.open() as opened:
                return await opened.read_blob(blob, _LARGEST_TABLE)

        try:
            unpacking = zlib.decompressobj(_GZIP)
            return unpacking.decompress(apart(addition, fetch), _LARGEST_TABLE)
        except (OverlayError, zlib.error):
            return b""  # it only explains: the step runs all the same


def _bring(
    source: CacheSource, wanted: dict[Digest, Descriptor], addition: Addition, tell: Tell
) -> None:
    async def fetch() -> bytes:
        from overlayfs_py.transfer.failing import run_together
        from overlayfs_py.transfer.pull import PARALLEL

        sizes: list[int] = []
        queue = iter(wanted.items())
        async with source.place.open() as opened:

            async def work() -> None:
                for diff_id, blob in queue:
                    if await opened.bring_layer(blob, diff_id, addition):
                        sizes.append(blob.size)

            await run_together([work] * PARALLEL)
        return json.dumps(sizes).encode()

    sizes: list[int] = json.loads(apart(addition, fetch))
    if sizes:
        text = f"{counted(len(sizes), 'layer')} fetched, {human_size(sum(sizes))}"
        tell(CacheMoved(Way.FETCH, source.name, text, layers=len(sizes), size=sum(sizes)))


def read_caches(places: Sequence[ArtifactPlace], addition: Addition, tell: Tell) -> Imported:
    """Read what caches know. One that cannot be used is told of, and the build goes on without."""
    found = []
    for place in places:
        try:
            source = _read(place, addition)
        except OSError as error:
            tell(Notice(f"cache of {place.name} is not used: {_reason(error, place.name)}"))
            continue
        found.append(source)
        tell(_imported(source))
    return Imported(found)


def _read(place: ArtifactPlace, addition: Addition) -> CacheSource:
    async def fetch() -> bytes:
        async with place.open() as opened:
            artifact = await opened.read()
        manifest = artifact.manifest
        return msgspec.msgpack.encode((manifest.raw, manifest.media_type, artifact.config))

    came = msgspec.msgpack.decode(apart(addition, fetch), type=tuple[bytes, str, bytes])
    raw, media_type, config = came
    return _source(place, parse_image_manifest(raw, media_type), config)


def _source(place: ArtifactPlace, manifest: Manifest, config: bytes) -> CacheSource:
    document = decode(config, place.name)
    layers = [each for each in manifest.layers if each.media_type != TABLE_TYPE]
    tables = [each for each in manifest.layers if each.media_type == TABLE_TYPE]
    return CacheSource(
        place,
        document,
        dict(zip(document.layers, layers, strict=False)),
        dict(zip(document.tables, tables, strict=False)),
        len(manifest.raw) + len(config),
    )


def _imported(source: CacheSource) -> CacheMoved:
    document = source.document
    steps, mounts = len(document.steps), len(document.mounts)
    told = [counted(steps, "step"), counted(len(source.layers), "layer")]
    told += [counted(mounts, "cache mount")] if mounts else []
    text = f"{', '.join(told)} known, {human_size(source.size)} read"
    return CacheMoved(Way.IMPORT, source.name, text, steps, len(source.layers), mounts, source.size)


def _reason(error: OSError, name: str) -> str:
    return describe(error).removeprefix(f"{name}: ")


def counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
