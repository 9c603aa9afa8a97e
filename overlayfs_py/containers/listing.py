"""The rows of `ps` (docker/cli, cli/command/formatter/container.go)."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers.state import HealthState, Status
from overlayfs_py.image.tables import Columns
from overlayfs_py.image.times import go_text
from overlayfs_py.image.units import human_duration, human_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from overlayfs_py.containers.state import State
    from overlayfs_py.store.containers import ContainerRecord

COLUMNS = Columns(
    "formatter.containerContext",
    {
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "Command": "COMMAND",
        "CreatedAt": "CREATED AT",
        "RunningFor": "CREATED",
        "Ports": "PORTS",
        "State": "STATE",
        "Status": "STATUS",
        "Size": "SIZE",
        "Names": "NAMES",
        "Labels": "LABELS",
        "Mounts": "MOUNTS",
        "LocalVolumes": "LOCAL VOLUMES",
        "Networks": "NETWORKS",
    },
)
TABLE = (
    r"table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
)
TABLE_WITH_SIZE = TABLE + r"\t{{.Size}}"
IDS = "{{.ID}}"
_SHORT_ID = 12
_LONGEST_COMMAND = 20
_LONGEST_MOUNT = 15


class Listed(NamedTuple):
    """What a list says of a container."""

    record: ContainerRecord
    state: State
    size: int | None = None  # bytes of its upper, where that was asked for
    image_size: int = 0


def container_rows(
    containers: Iterable[Listed], now_ns: int, *, shorten: bool
) -> Iterator[Mapping[str, str]]:
    """Yield a row for each container."""
    for listed in containers:
        record, state = listed.record, listed.state
        volumes = [mount for mount in record.mounts if mount.kind.value == "volume"]
        yield {
            "ID": record.id[:_SHORT_ID] if shorten else record.id,
            "Image": record.image,
            "Command": _command(record, shorten=shorten),
            "CreatedAt": go_text(record.created_ns // 10**9 * 10**9),
            "RunningFor": f"{human_duration(now_ns - record.created_ns)} ago",
            "Ports": ", ".join(state.ports),
            "State": state.status.value,
            "Status": status_text(state, now_ns),
            "Size": _size(listed),
            "Names": record.name,
            "Labels": ",".join(f"{name}={value}" for name, value in sorted(record.labels.items())),
            "Mounts": ",".join(_cut(m.source, shorten=shorten) for m in record.mounts if m.source),
            "LocalVolumes": str(len(volumes)),
            "Networks": record.network,
        }


def status_text(state: State, now_ns: int) -> str:
    """What a container is doing, in docker's words (moby, container/state.go)."""
    if state.status is Status.CREATED:
        return "Created"
    if state.status is Status.EXITED:
        return f"Exited ({state.exit_code}) {human_duration(now_ns - state.finished_ns)} ago"
    if state.status is Status.RESTARTING:
        ago = human_duration(now_ns - state.finished_ns)
        return f"Restarting ({state.exit_code}) {ago} ago"
    up = f"Up {human_duration(now_ns - state.started_ns)}"
    if state.status is Status.PAUSED:
        return f"{up} (Paused)"
    if state.health is HealthState.STARTING:
        return f"{up} (health: starting)"
    return up if state.health is HealthState.NONE else f"{up} ({state.health.value})"


def _command(record: ContainerRecord, *, shorten: bool) -> str:
    text = " ".join(word or shlex.quote(word) for word in record.words)
    if shorten and len(text) > _LONGEST_COMMAND:
        text = text[: _LONGEST_COMMAND - 1] + "…"
    return f'"{text}"'


def _cut(text: str, *, shorten: bool) -> str:
    return text[: _LONGEST_MOUNT - 1] + "…" if shorten and len(text) > _LONGEST_MOUNT else text


def _size(listed: Listed) -> str:
    if listed.size is None:
        return ""
    virtual = human_size(listed.size + listed.image_size, 3)
    return f"{human_size(listed.size, 3)} (virtual {virtual})"
