"""Where everything of a snapshotter lies; docs/CONTAINERD.md says what it means."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.store.records import Form

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.backends.snapshot_records import SnapshotRecord

RECORD = "snapshot.json"
TREE = "fs"  # an upper, or a committed layer
WORK = "work"
PACK = "layer.pack"
LEASE = "lease"  # held, shared, by the daemon of each mount
_ID = re.compile("[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class SnapshotPlaces:
    """The paths of one snapshotter."""

    root: Path

    @property
    def version(self) -> Path:
        return self.root / "snapshotter.json"

    @property
    def lock(self) -> Path:
        """Held by the process that serves."""
        return self.root / "lock"

    @property
    def empty(self) -> Path:
        """The layer of what has no parent; nothing is ever in it."""
        return self.root / "empty"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def removed(self) -> Path:
        """Removed snapshots that are still mounted, or not yet deleted."""
        return self.root / "removed"

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    def snapshot(self, ident: int) -> Path:
        return self.snapshots / str(ident)

    def layer(self, record: SnapshotRecord) -> Path:
        """What a committed snapshot is as a layer."""
        directory = self.snapshot(record.id)
        return directory / (PACK if record.form is Form.PACK else TREE)

    def source(self, ident: int) -> str:
        """What the mount table shows of a snapshot's mounts."""
        return os.fspath(self.snapshot(ident))


def idents(directory: Path) -> list[int]:
    """The IDs that have a directory there, smallest first; anything else is foreign."""
    return sorted(int(path.name) for path in directory.iterdir() if _ID.fullmatch(path.name))
