"""Where everything of a store lies; docs/STORE.md says what it means and who may delete it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.image.digest import hex_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.image.digest import Digest

RECORD = "layer.json"
PACK = "layer.pack"
TREE = "tree"
LEASE = "lease"
GONE = ".gone"  # an image that is being removed
LAYER_FILES = (RECORD, PACK, TREE)
SOURCE = "source.json"  # of a layer that is coming
HERE = "layer.here"  # which of its chunks are here: `packs.arrivals`
COMING_FILES = (RECORD, PACK, SOURCE, HERE)
BRINGING = ("socket", "lock")  # of the process that brings chunks


def default_root(environment: Mapping[str, str]) -> Path:
    """Where a person's store is: below XDG's directory for data."""
    data = environment.get("XDG_DATA_HOME", "")
    base = Path(data) if data.startswith("/") else Path.home() / ".local" / "share"
    return base / "overlayfs-py"


class Places(msgspec.Struct, frozen=True):
    """The paths of one store."""

    root: Path

    @property
    def version(self) -> Path:
        return self.root / "store.json"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs" / "sha256"

    @property
    def layers(self) -> Path:
        return self.root / "layers"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def tags(self) -> Path:
        return self.root / "tags"

    @property
    def partial(self) -> Path:
        return self.root / "partial"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def quarantine(self) -> Path:
        return self.root / "quarantine"

    @property
    def containers(self) -> Path:
        """Made with the first container."""
        return self.root / "containers"

    @property
    def snapshots(self) -> Path:
        """Made with the first snapshot of a container."""
        return self.root / "snapshots"

    @property
    def volumes(self) -> Path:
        """Made with the first volume."""
        return self.root / "volumes"

    @property
    def coming(self) -> Path:
        """Made with the first layer of which chunks are still to come."""
        return self.root / "coming"

    @property
    def builds(self) -> Path:
        """Made with the first build."""
        return self.root / "builds"

    @property
    def build_steps(self) -> Path:
        return self.builds / "steps"

    @property
    def build_tables(self) -> Path:
        return self.builds / "tables"

    @property
    def cache_mounts(self) -> Path:
        return self.builds / "mounts"

    @property
    def empty(self) -> Path:
        """The layer of an image that has none."""
        return self.root / "empty"

    @property
    def directories(self) -> tuple[Path, ...]:
        """All directories of a store, in the order to make them."""
        return (
            self.root,
            self.blobs.parent,
            self.blobs,
            self.layers,
            self.images,
            self.tags,
            self.partial,
            self.staging,
            self.locks,
            self.quarantine,
        )

    def blob(self, digest: Digest) -> Path:
        return self.blobs / hex_of(digest)

    def layer(self, diff_id: Digest) -> Path:
        return self.layers / hex_of(diff_id)

    def coming_layer(self, diff_id: Digest) -> Path:
        return self.coming / hex_of(diff_id)

    def layer_record(self, diff_id: Digest) -> Path:
        return self.layer(diff_id) / RECORD

    def use(self, digest: Digest) -> Path:
        """Held shared by whoever has a layer, or the image of a manifest, mounted."""
        return self.locks / f"use-{hex_of(digest)}"

    def layer_ingest(self, diff_id: Digest) -> Path:
        """Held by whoever is making the layer."""
        return self.locks / f"ingest-{hex_of(diff_id)}"

    def image(self, manifest: Digest) -> Path:
        return self.images / hex_of(manifest)

    def tag(self, reference: str) -> Path:
        # A reference may be longer than a file name, and has slashes: what it is stands inside.
        return self.tags / hashlib.sha256(reference.encode()).hexdigest()

    def build_step(self, key: Digest) -> Path:
        return self.build_steps / hex_of(key)

    def build_table(self, digest: Digest) -> Path:
        return self.build_tables / hex_of(digest)

    def container(self, ident: str) -> Path:
        return self.containers / ident

    def snapshot(self, name: str) -> Path:
        return self.snapshots / name

    def volume(self, name: str) -> Path:
        return self.volumes / name

    def download(self, digest: Digest) -> Path:
        return self.partial / hex_of(digest)
