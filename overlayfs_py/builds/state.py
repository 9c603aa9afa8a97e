"""What a stage is at some step: layers, config and history, which the next step takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field, structs

from overlayfs_py.image.config import HistoryEntry, RunConfig, chain_ids
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.media_types import Compression, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.platform import Platform

COMMENT = "buildkit.dockerfile.v0"  # what tools know a Dockerfile's steps by
SCRATCH = "scratch"


class StageState(Struct, frozen=True):
    """An image in the making. Its layers are in the store, kept by the build's addition."""

    platform: Platform
    kind: Kind = Kind.OCI  # of manifest
    diff_ids: tuple[Digest, ...] = ()  # lowest first
    descriptors: tuple[Descriptor, ...] = ()  # of the same, as a manifest tells of them
    run: RunConfig = field(default_factory=RunConfig)
    history: tuple[HistoryEntry, ...] = ()
    author: str = ""
    # What variables mean here: those of the config, and ARGs, which of one name the last one is.
    variables: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()  # the names of ARGs so far
    # What it came of, for whom the cache is exported to: the keys of steps, what files of layers
    # have come to (by a key for what was selected), the IDs of cache mounts.
    steps: tuple[Digest, ...] = ()
    selections: tuple[tuple[str, str], ...] = ()
    cache_mounts: tuple[str, ...] = ()

    @property
    def parent(self) -> str:
        """What the next step stands on, by its content."""
        chain = chain_ids(self.diff_ids)
        return chain[-1] if chain else SCRATCH

    def with_layer(
        self, diff_id: Digest, tar_size: int, created_by: str, created: str
    ) -> StageState:
        """The state after a step that made a layer; it need not be in the store yet."""
        media_type = self.kind.layer(Compression.NONE)
        return structs.replace(
            self,
            diff_ids=(*self.diff_ids, diff_id),
            descriptors=(*self.descriptors, Descriptor(media_type, diff_id, tar_size)),
            history=(*self.history, HistoryEntry(created, created_by, comment=COMMENT)),
        )

    def after(
        self,
        step: Digest,
        selections: Sequence[tuple[str, str]],
        cache_mounts: Sequence[str],
    ) -> StageState:
        """The state that remembers a step, and what it has used."""
        return structs.replace(
            self,
            steps=(*self.steps, step),
            selections=(*self.selections, *selections),
            cache_mounts=(*self.cache_mounts, *cache_mounts),
        )

    def with_variables(self, values: Mapping[str, str]) -> StageState:
        """The state where some variables have other values."""
        return structs.replace(self, variables={**self.variables, **values})

    def with_config(self, run: RunConfig, created_by: str) -> StageState:
        """The state after a step that changed the config alone; when is known at the end."""
        entry = HistoryEntry(created_by=created_by, comment=COMMENT, empty_layer=True)
        return structs.replace(self, run=run, history=(*self.history, entry))


def pairs_of(entries: Sequence[str] | None) -> dict[str, str]:
    """The variables of a config's `Env`."""
    return dict(entry.partition("=")[::2] for entry in entries or ())
