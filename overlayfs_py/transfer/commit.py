"""An image with one layer more: what a container has changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.image.config import HistoryEntry, build_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.manifest import build_manifest
from overlayfs_py.image.media_types import Compression, kind_of
from overlayfs_py.image.reference import require_tag_name
from overlayfs_py.image.times import rfc3339
from overlayfs_py.store.failures import NotInStore
from overlayfs_py.transfer.made_layers import add_packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overlayfs_py.image.config import ImageConfig, RunConfig
    from overlayfs_py.image.manifest import Manifest
    from overlayfs_py.image.reference import Reference
    from overlayfs_py.packs.writer import PackWriter
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store


@dataclass(frozen=True, slots=True)
class Base:
    """The image that the new one is built on."""

    manifest: Manifest
    config: ImageConfig


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """What the image says of itself."""

    run: RunConfig
    created_ns: int
    created_by: str = ""
    author: str = ""
    message: str = ""


def commit(
    store: Store,
    base: Base,
    fill: Callable[[PackWriter], bool],
    options: CommitOptions,
    references: Sequence[Reference],
) -> StoredImage:
    """Make the image; `fill` puts its layer into a pack, and says whether there is anything in it.

    Where there is not, the image has the layers of its base, as docker has it.

    Raises:
        NotInStore: a layer of the base has gone.
    """
    for reference in references:
        require_tag_name(reference)
    with store.add() as addition:
        for diff_id in base.config.diff_ids:
            if addition.find_layer(diff_id) is None:
                raise NotInStore(diff_id, "layer")
        layer = _layer(addition, base.manifest, fill)
        config = _config(base.config, layer, options)
        addition.put_blob(config.raw)
        kind = kind_of(base.manifest.media_type)
        manifest = build_manifest(
            kind,
            Descriptor(kind.config, config.image_id, len(config.raw)),
            [*base.manifest.layers, *layer],
        )
        addition.put_blob(manifest.raw)
        return addition.add_image(manifest, references=references)


def _layer(
    addition: Addition, base: Manifest, fill: Callable[[PackWriter], bool]
) -> list[Descriptor]:
    """The layer as a manifest tells of it; none if nothing was changed."""
    has_any = False

    def filling(writer: PackWriter) -> None:
        nonlocal has_any
        has_any = fill(writer)

    layer = add_packed(addition, filling)
    if not has_any:
        return []  # the empty one goes with the addition
    media_type = kind_of(base.media_type).layer(Compression.NONE)
    return [Descriptor(media_type, layer.diff_id, layer.record.tar_size)]


def _config(base: ImageConfig, layer: Sequence[Descriptor], options: CommitOptions) -> ImageConfig:
    created = rfc3339(options.created_ns)
    step = HistoryEntry(
        created,
        options.created_by,
        options.author,
        options.message,
        empty_layer=not layer,
    )
    return build_config(
        base.platform,
        [*base.diff_ids, *(each.digest for each in layer)],
        history=[*base.history, step],
        run=options.run,
        created=created,
        author=options.author,
        comment=options.message,
    )
