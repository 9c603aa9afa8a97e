"""The rows of `snapshot ls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.image.tables import Columns
from overlayfs_py.image.times import rfc3339
from overlayfs_py.image.units import human_duration, human_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.containers.snapshots import Held

COLUMNS = Columns(
    "snapshotContext",
    {
        "Tag": "TAG",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "Size": "SIZE",
        "Total": "TOTAL",
    },
)
TABLE = r"table {{.Tag}}\t{{.CreatedSince}}\t{{.Size}}\t{{.Total}}"
TAGS = "{{.Tag}}"


def row(held: Held, now_ns: int) -> Mapping[str, str]:
    """What there is to say of a snapshot."""
    made_ns = held.snapshot.created_ns
    return {
        "Tag": held.snapshot.tag,
        "CreatedAt": rfc3339(made_ns),
        "CreatedSince": f"{human_duration(now_ns - made_ns)} ago",
        "Size": human_size(held.own_bytes, 3),
        "Total": human_size(held.all_bytes, 3),
    }
