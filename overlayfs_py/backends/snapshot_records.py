"""What is known of a snapshot: the small file in its directory."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

import msgspec

from overlayfs_py.store.records import Form, Record

NO_PARENT = 0


class Kind(Enum):
    """What a snapshot is for; containerd's words."""

    VIEW = "view"  # shows its parent, read-only
    ACTIVE = "active"  # has an upper
    COMMITTED = "committed"  # a layer, never changed again


class Usage(NamedTuple):
    """What a snapshot takes on the disk, its parents left out."""

    size: int = 0  # bytes, by blocks
    inodes: int = 0


class RootVersion(Record, frozen=True, kw_only=True):
    """`snapshotter.json`: what the directory is."""

    version: int = 1
    kind: str = "overlayfs-py snapshotter"


class SnapshotRecord(Record, frozen=True, kw_only=True):
    """`snapshots/ID/snapshot.json`. Names are anybody's words, and no part of a path."""

    id: int  # the directory's name; never used again as long as anything of it is there
    name: str
    kind: Kind
    parent: int = NO_PARENT  # the ID of a committed snapshot
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    created_ns: int
    updated_ns: int
    size: int = 0  # of a committed one
    inodes: int = 0
    form: Form = Form.TREE  # of a committed one
    key: str = ""  # what a committed one was called before
