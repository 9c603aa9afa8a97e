"""What containerd has to mount to get a snapshot."""

from __future__ import annotations

import os
import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.backends.option_values import parse_id_ranges, parse_size
from overlayfs_py.backends.snapshot_failures import Class, Refused, quoted
from overlayfs_py.backends.snapshot_places import LEASE, TREE, WORK
from overlayfs_py.backends.snapshot_records import Kind
from overlayfs_py.store.records import Form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.backends.snapshot_places import SnapshotPlaces
    from overlayfs_py.backends.snapshot_records import SnapshotRecord

_PREFIX = "containerd.io/snapshot/"
MAX_SIZE = _PREFIX + "max-size"
_MAPPINGS = {"uidmapping": _PREFIX + "uidmapping", "gidmapping": _PREFIX + "gidmapping"}
# containerd's key of a snapshot that a layer is unpacked into: a time, chance, the chain ID. Before
# it stands `NAMESPACE/NUMBER/`; no container's name has a space.
_UNPACKING = re.compile(r"(?:.*/)?extract-[0-9]+-\S+ [a-z0-9]+:[0-9a-f]+", re.DOTALL)


class Style(Enum):
    """Who merges the layers of a snapshot."""

    FUSE = "fuse"  # a mount of ours
    KERNEL = "kernel"  # overlayfs, of snapshots that it can show


class Mount(NamedTuple):
    """A mount in containerd's form: type, source, options."""

    kind: str
    source: str
    options: tuple[str, ...]


class MountWriter:
    """Says how snapshots are mounted."""

    def __init__(
        self, places: SnapshotPlaces, program: str, style: Style, *, writes_whiteouts: bool
    ) -> None:
        """Take what is the same for all snapshots.

        Args:
            places: of the snapshots.
            program: the path of `fuse-overlayfs-py`, as containerd's processes find it.
            style: for snapshots that nothing else is asked of.
            writes_whiteouts: whether containerd may make device 0:0: not in a user namespace.
        """
        self._places = places
        self._program = program
        self._style = style
        self._writes_whiteouts = writes_whiteouts

    def mounts(self, record: SnapshotRecord, parents: Sequence[SnapshotRecord]) -> list[Mount]:
        """Return the mounts of an active snapshot or a view on `parents`, topmost first."""
        if self._is_for_kernel(record, parents):
            return [self._for_kernel(record, parents)]
        options = [*self._directories(record, parents), *_asked_for(record)]
        options.append(f"lease={self._places.snapshot(record.id) / LEASE}")
        if record.kind is Kind.VIEW:
            options.append("ro")
        source = self._places.source(record.id)
        return [Mount(f"fuse3.{self._program}", source, tuple(options))]

    def _is_for_kernel(self, record: SnapshotRecord, parents: Sequence[SnapshotRecord]) -> bool:
        if not self._writes_whiteouts or any(each.form is Form.PACK for each in parents):
            return False
        if is_unpacked_into(record):
            # Not mounted at all: of this type, containerd writes a layer straight into the upper,
            # with its whiteouts, whatever lies below. Only so can the parent come at the commit.
            return True
        is_plain = not any(label in record.labels for label in (MAX_SIZE, *_MAPPINGS.values()))
        return self._style is Style.KERNEL and is_plain

    def _directories(
        self, record: SnapshotRecord, parents: Sequence[SnapshotRecord]
    ) -> tuple[str, ...]:
        layers = [os.fspath(self._places.layer(each)) for each in parents]
        below = f"lowerdir={':'.join(layers or [os.fspath(self._places.empty)])}"
        if record.kind is Kind.VIEW:
            return (below,)
        own = self._places.snapshot(record.id)
        return (f"workdir={own / WORK}", f"upperdir={own / TREE}", below)

    def _for_kernel(self, record: SnapshotRecord, parents: Sequence[SnapshotRecord]) -> Mount:
        if record.kind is Kind.VIEW and len(parents) < 2:
            # Overlayfs takes no single layer without an upper.
            shown = self._places.layer(parents[0]) if parents else self._places.empty
            return Mount("bind", os.fspath(shown), ("ro", "rbind"))
        return Mount("overlay", "overlay", self._directories(record, parents))


def is_unpacked_into(record: SnapshotRecord) -> bool:
    """Whether containerd makes the snapshot to unpack an image's layer into it."""
    return record.kind is Kind.ACTIVE and _UNPACKING.fullmatch(record.name) is not None


def max_size(labels: dict[str, str]) -> int | None:
    """Return how many bytes an active snapshot may take.

    Raises:
        Refused: the label is no such number.
    """
    text = labels.get(MAX_SIZE)
    if text is None:
        return None
    try:
        return parse_size(text)
    except ValueError as error:
        raise _wrong(MAX_SIZE, error) from None


def require_sense(labels: dict[str, str]) -> None:
    """Make sure that labels that ask for something can be understood.

    Raises:
        Refused: naming the one that cannot.
    """
    max_size(labels)
    for label in _MAPPINGS.values():
        if label in labels:
            _mapping(label, labels[label])


def _asked_for(record: SnapshotRecord) -> list[str]:
    options = [
        f"{option}={_mapping(label, record.labels[label])}"
        for option, label in _MAPPINGS.items()
        if label in record.labels
    ]
    limit = max_size(record.labels)
    if limit is not None and record.kind is Kind.ACTIVE:
        options.append(f"upper_limit={limit}")
    return options


def _mapping(label: str, value: str) -> str:
    """Return `0:100000:65536,...`, container's ids and host's, as our option has them."""
    text = value.replace(",", ":")
    try:
        ranges = parse_id_ranges(text)
    except ValueError as error:
        raise _wrong(label, error) from None
    if len(ranges) != len(value.split(",")):
        raise _wrong(label, ValueError(f"{value}: not of the form container:host:length,..."))
    return text


def _wrong(label: str, error: ValueError) -> Refused:
    return Refused(Class.INVALID_ARGUMENT, f"label {quoted(label)}: {error}")
