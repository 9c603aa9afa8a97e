"""The rows of `image history` (docker/cli, cli/command/formatter/history.go)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from overlayfs_py.image.config import HistoryEntry
from overlayfs_py.image.listing import NOT_KNOWN, short_id, since
from overlayfs_py.image.tables import Columns
from overlayfs_py.image.times import parse_time, rfc3339
from overlayfs_py.image.units import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from overlayfs_py.image.config import ImageConfig
    from overlayfs_py.image.digest import Digest

MISSING = "<missing>"  # a step whose image is not here, or never was an image of its own
_LONGEST_COMMAND = 45
_ELLIPSIS = "…"

COLUMNS = Columns(
    "formatter.historyContext",
    {
        "ID": "IMAGE",
        "CreatedSince": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedBy": "CREATED BY",
        "Size": "SIZE",
        "Comment": "COMMENT",
    },
)
TABLE = r"table {{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
EXACT_TABLE = r"table {{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
IDS = "{{.ID}}"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the build; `layer` is the index of the layer that it made."""

    entry: HistoryEntry
    layer: int | None


def steps(config: ImageConfig) -> list[Step]:
    """All steps, newest first. Layers that no step tells of are the oldest."""
    made = sum(not entry.empty_layer for entry in config.history)
    untold = len(config.diff_ids) - made
    numbers = itertools.count(untold)
    told = [Step(entry, None if entry.empty_layer else next(numbers)) for entry in config.history]
    return [*reversed(told), *(Step(HistoryEntry(), at) for at in reversed(range(untold)))]


def history_rows(
    config: ImageConfig,
    layer_sizes: Sequence[int],
    now_ns: int,
    *,
    human: bool,
    shorten: bool,
) -> Iterator[Mapping[str, str]]:
    """Yield a row for each step, newest first; `layer_sizes` are in bytes, base first."""
    for at, step in enumerate(steps(config)):
        created = parse_time(step.entry.created)
        created_at = NOT_KNOWN if created is None else rfc3339(created // 10**9 * 10**9)
        size = 0 if step.layer is None else layer_sizes[step.layer]
        yield {
            "ID": _shown_id(config.image_id, shorten=shorten) if at == 0 else MISSING,
            "CreatedSince": since(created, now_ns) if human else created_at,
            "CreatedAt": created_at,
            "CreatedBy": _command(step.entry.created_by, shorten=shorten),
            "Size": human_size(size, 3) if human else str(size),
            "Comment": step.entry.comment,
        }


def _shown_id(image_id: Digest, *, shorten: bool) -> str:
    return short_id(image_id) if shorten else image_id


def _command(text: str, *, shorten: bool) -> str:
    """A command on one line of the table."""
    plain = text.replace("\t", " ")
    if not shorten or len(plain) <= _LONGEST_COMMAND:
        return plain
    return plain[: _LONGEST_COMMAND - 1] + _ELLIPSIS
