"""What is wrong with the records of a store's containers and volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.digest import Digest
from overlayfs_py.store import containers, layers, records, volumes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.places import Places


class Fault(NamedTuple):
    """One thing that is wrong with a container or a volume."""

    directory: Path  # its own
    name: str
    why: str
    is_lost: bool  # whether nobody can tell what it is, so that others cannot be listed either


def of_containers(places: Places) -> Iterator[Fault]:
    """Yield damaged records, and containers whose images have lost a layer."""
    for directory in _directories(places.containers):
        ident = directory.name
        try:
            record = containers.find(places, ident)
            changed = records.fault(directory / containers.RECORD)
        except OverlayError as error:
            yield Fault(directory, ident[:12], str(error.strerror), is_lost=True)
            continue
        if record is None or changed is not None:
            yield Fault(directory, ident[:12], changed or "it has no record", is_lost=True)
        elif gone := _missing_layer(places, record):
            yield Fault(directory, record.name, f"its layer {gone} is missing", is_lost=False)


def of_volumes(places: Places) -> Iterator[Fault]:
    """Yield volumes whose record is damaged."""
    for directory in _directories(places.volumes):
        try:
            record = volumes.find(places, directory.name)
            why = records.fault(directory / volumes.RECORD)
        except OverlayError as error:
            record, why = None, str(error.strerror)
        if record is None or why is not None:
            yield Fault(directory, directory.name, why or "it has no record", is_lost=True)


def _directories(place: Path) -> list[Path]:
    return sorted(place.iterdir()) if place.exists() else []


def _missing_layer(places: Places, record: ContainerRecord) -> str | None:
    for diff_id in record.diff_ids:
        if layers.find_usable(places, Digest(diff_id)) is None:
            return diff_id
    return None
