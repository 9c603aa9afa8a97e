"""The rows of `stats` (docker/cli, cli/command/container/formatter_stats.go)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.tables import Columns
from overlayfs_py.image.units import human_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.containers.processes import Use
    from overlayfs_py.store.containers import ContainerRecord

COLUMNS = Columns(
    "container.statsContext",
    {
        "Container": "CONTAINER",
        "ID": "CONTAINER ID",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET I/O",
        "BlockIO": "BLOCK I/O",
        "PIDs": "PIDS",
    },
)
TABLE = (
    r"table {{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}"
    r"\t{{.BlockIO}}\t{{.PIDs}}"
)
_SHORT_ID = 12
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def row(
    record: ContainerRecord, use: Use, share: float, limit_bytes: int, *, in_full: bool
) -> Mapping[str, str]:
    """What a container uses; `share` is of one processor."""
    ident = record.id if in_full else record.id[:_SHORT_ID]
    return {
        "Container": ident,
        "ID": ident,
        "Name": record.name,
        "CPUPerc": f"{share * 100:.2f}%",
        "MemUsage": f"{_binary(use.memory_bytes)} / {_binary(limit_bytes)}",
        "MemPerc": f"{use.memory_bytes / limit_bytes * 100:.2f}%",
        "NetIO": f"{human_size(use.received_bytes, 3)} / {human_size(use.sent_bytes, 3)}",
        "BlockIO": f"{human_size(use.read_bytes, 3)} / {human_size(use.written_bytes, 3)}",
        "PIDs": str(use.pids),
    }


def _binary(size: float) -> str:
    """As go-units' BytesSize: four digits."""
    for unit in _BINARY[:-1]:
        if size < 1024:
            return f"{size:.4g}{unit}"
        size /= 1024
    return f"{size:.4g}{_BINARY[-1]}"
