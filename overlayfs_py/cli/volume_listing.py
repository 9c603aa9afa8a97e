"""What there is to say of a volume, and `--filter`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError
from overlayfs_py.image.tables import Columns
from overlayfs_py.image.times import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from overlayfs_py.image.go_json import Json
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.volumes import VolumeRecord

COLUMNS = Columns(
    "formatter.volumeContext",
    {
        "Driver": "DRIVER",
        "Name": "VOLUME NAME",
        "Scope": "SCOPE",
        "Mountpoint": "MOUNTPOINT",
        "Labels": "LABELS",
    },
)
TABLE = r"table {{.Driver}}\t{{.Name}}"
NAMES = "{{.Name}}"
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def rows(store: Store, volumes: Iterable[VolumeRecord]) -> Iterator[Mapping[str, str]]:
    """Yield a row for each volume (docker/cli, cli/command/formatter/volume.go)."""
    for volume in volumes:
        labels = sorted(volume.labels.items())
        yield {
            "Driver": "local",
            "Name": volume.name,
            "Scope": "local",
            "Mountpoint": os.fspath(store.volumes.data(volume.name)),
            "Labels": ",".join(f"{name}={value}" for name, value in labels),
        }


def described(store: Store, volume: VolumeRecord) -> dict[str, Json]:
    """What `inspect` says, in docker's keys."""
    return {
        "CreatedAt": rfc3339(volume.created_ns // 10**9 * 10**9),
        "Driver": "local",
        "Labels": dict(sorted(volume.labels.items())),
        "Mountpoint": os.fspath(store.volumes.data(volume.name)),
        "Name": volume.name,
        "Options": volume.options or None,
        "Scope": "local",
    }


def fitting(
    store: Store, filters: Iterable[str], known: Iterable[str]
) -> Callable[[VolumeRecord], bool]:
    """Return what says whether a volume fits all filters, of which some are `known`.

    Raises:
        OptionError: one makes no sense.
    """
    conditions = [_condition(store, text, known) for text in filters]
    return lambda volume: all(fits(volume) for fits in conditions)


def _condition(store: Store, text: str, known: Iterable[str]) -> Callable[[VolumeRecord], bool]:
    name, equals, value = text.partition("=")
    if not equals or name not in known:
        raise OptionError("--filter", f"{text}: not one of {', '.join(known)}")
    match name:
        case "name":
            return lambda volume: value in volume.name
        case "driver":
            return lambda _: value == "local"
        case "dangling" if value in _TRUTHS:
            return lambda volume: bool(store.volumes.users(volume.name)) is not _TRUTHS[value]
        case "label" | "label!":
            key, has_value, wanted = value.partition("=")
            is_denied = name.endswith("!")
            return lambda volume: (
                (key in volume.labels and (not has_value or volume.labels[key] == wanted))
                is not is_denied
            )
        case _:
            raise OptionError("--filter", f"{text}: true or false")
