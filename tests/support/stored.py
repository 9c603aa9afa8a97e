"""Small images made straight in a store, layer by layer, as directories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.config import HistoryEntry, RunConfig, build_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.manifest import build_manifest
from overlayfs_py.image.media_types import Compression, Kind
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.layers import LayerFacts, LayerIngest
from overlayfs_py.store.records import Form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.store import Store

# Paths below the root; a text is a file's content, one that begins with "-> " a link's target,
# None an empty directory. `.wh.NAME` deletes NAME from the layers below.
_LINK = "-> "


def make_image(
    store: Store,
    *names: str,
    layers: list[Mapping[str, str | None]],
    created: str = "2023-11-14T22:13:20Z",
    run: RunConfig = RunConfig(),  # noqa: B008 - a value that cannot change
    steps: Sequence[str] | None = None,
) -> StoredImage:
    """Make an image of such layers, base first; `steps` are what the history says of them."""
    with store.add() as addition:
        diff_ids = [_add_layer(addition, layer) for layer in layers]
        told = steps or [f"ADD layer {at}" for at in range(len(layers))]
        config = build_config(
            Platform("linux", "amd64"),
            diff_ids,
            history=[HistoryEntry(created, step) for step in told],
            run=run,
            created=created,
        )
        manifest = build_manifest(
            Kind.OCI,
            Descriptor(Kind.OCI.config, config.image_id, len(config.raw)),
            # Nothing here reads the blobs that the layers came as.
            [Descriptor(Kind.OCI.layer(Compression.NONE), diff_id, 1) for diff_id in diff_ids],
        )
        addition.put_blob(config.raw)
        addition.put_blob(manifest.raw)
        references = [parse_reference(name) for name in names]
        return addition.add_image(manifest, references=references, repositories=[])


def _add_layer(addition: Addition, layer: Mapping[str, str | None]) -> Digest:
    diff_id = digest_of(repr(sorted(layer.items())).encode())
    with addition.ingest_layer(diff_id, Form.TREE) as ingest:
        if isinstance(ingest, LayerIngest):
            ingest.path.mkdir()
            sizes = [_make(ingest.path / path, content) for path, content in layer.items()]
            addition.commit_layer(ingest, LayerFacts(diff_id, sum(sizes), sum(sizes)))
    return diff_id


def _make(path: Path, content: str | None) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir(exist_ok=True)
        return 0
    if content.startswith(_LINK):
        path.symlink_to(content.removeprefix(_LINK))
        return 0
    return path.write_text(content)
