"""A whole build: from a request to an image of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field, structs

from overlayfs_py.builds.cache import now_ns
from overlayfs_py.builds.events import BegunAnew
from overlayfs_py.builds.imported import LayersGone
from overlayfs_py.builds.schedule import BuildBroken, Schedule
from overlayfs_py.builds.sources import Sources
from overlayfs_py.builds.stage import StageBuild
from overlayfs_py.builds.workers import Broken
from overlayfs_py.image.config import build_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.manifest import build_manifest
from overlayfs_py.image.reference import require_tag_name
from overlayfs_py.image.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from overlayfs_py.builds.events import Event
    from overlayfs_py.builds.request import Request
    from overlayfs_py.builds.state import StageState
    from overlayfs_py.builds.workers import Link
    from overlayfs_py.image.config import HistoryEntry, ImageConfig
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store


class Built(Struct, frozen=True):
    """What came of a build."""

    image: StoredImage
    states: tuple[StageState, ...]  # of all stages that were built or looked at
    target: StageState


class ImageOptions(Struct, frozen=True):
    """What the image is called, and says of itself besides."""

    references: Sequence[Reference] = ()
    is_kept: bool = True  # in the store, with names or without
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def build(
    store: Store,
    addition: Addition,
    request: Request,
    options: ImageOptions,
    tell: Callable[[Event], None],
    export: Callable[[StoredImage], None],
) -> Built:
    """Build an image; `tell` hears of each step. What was made stays in the cache, come what may.

    `addition` keeps what is made, `export` writes the image wherever else it is to be. The calling
    process must have one thread.

    Raises:
        BuildBroken: a step cannot be done; `is_dry` where a dry run has told all that can be known.
    """
    for reference in options.references:
        require_tag_name(reference)
    states = _whole_states(store, request, addition, tell)
    state = states[request.plan.target]
    image = _image(request, state, options, addition)
    export(image)
    return Built(image, tuple(states.values()), state)


def _whole_states(
    store: Store, request: Request, addition: Addition, tell: Callable[[Event], None]
) -> dict[int, StageState]:
    """Build the stages; the layers of the target are in the store then.

    Where another cache turns out not to have a layer that it told of, all begins anew without it:
    what was made meanwhile is in the cache.
    """
    imported = request.imported
    while True:
        try:
            states = _states(store, request, addition, tell)
            _bring_layers(request, states[request.plan.target], addition, tell)
        except (BuildBroken, LayersGone) as error:
            if not imported.forget(error.gone):
                raise
            tell(BegunAnew(f"{error}; begun anew without them"))
        else:
            return states


def _bring_layers(
    request: Request, target: StageState, addition: Addition, tell: Callable[[Event], None]
) -> None:
    """Have the layers of the target in the store; a dry run has told all by now."""
    if not request.dry_run:
        request.imported.bring(target.diff_ids, addition, tell)
    elif any(addition.find_layer(each) is None for each in target.diff_ids):
        raise BuildBroken(Broken("", 0, is_dry=True))


def _states(
    store: Store, request: Request, addition: Addition, tell: Callable[[Event], None]
) -> dict[int, StageState]:
    def build_stage(index: int, link: Link) -> StageState:
        plan = request.plan.stages[index]
        with Sources(request, store, addition, link) as sources:
            return StageBuild(plan, request, store, addition, sources, link).run()

    plan = request.plan
    return Schedule(build_stage, tell, request.jobs).run(plan.needed(), plan.target)


def _image(
    request: Request, state: StageState, options: ImageOptions, addition: Addition
) -> StoredImage:
    config = _config(request, state, options)
    addition.put_blob(config.raw)
    manifest = build_manifest(
        state.kind,
        Descriptor(state.kind.config, config.image_id, len(config.raw)),
        list(state.descriptors),
        annotations=options.annotations,
    )
    addition.put_blob(manifest.raw)
    if not options.is_kept:
        return addition.look_at_image(manifest)
    return addition.add_image(manifest, references=options.references)


def _config(request: Request, state: StageState, options: ImageOptions) -> ImageConfig:
    history = _dated(state.history, request.latest_ns)
    run = state.run
    if options.labels:
        run = structs.replace(run, labels={**(run.labels or {}), **options.labels})
    created = history[-1].created if history else ""
    return build_config(
        state.platform,
        state.diff_ids,
        history=history,
        run=run,
        created=created or rfc3339(now_ns(request.latest_ns)),
        author=state.author,
    )


def _dated(history: Sequence[HistoryEntry], latest_ns: int | None) -> list[HistoryEntry]:
    """Give a time to steps that have none: that of the layer before, as BuildKit does.

    So an image that is all in the cache is the same one again.
    """
    if latest_ns is not None:
        told = rfc3339(latest_ns)
        return [
            entry if entry.created else structs.replace(entry, created=told) for entry in history
        ]
    undated = next((at for at, entry in enumerate(history) if not entry.created), len(history))
    later = (entry.created for entry in history[undated:] if entry.created)
    earlier = [entry.created for entry in history[:undated]]
    # Before the first layer of this build it is that layer's.
    last = next(later, earlier[-1] if earlier else rfc3339(now_ns(None)))
    found = []
    for at, entry in enumerate(history):
        if entry.created and at > undated:
            last = entry.created
        found.append(entry if entry.created else structs.replace(entry, created=last))
    return found
