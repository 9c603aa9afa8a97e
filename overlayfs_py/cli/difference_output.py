"""A difference between two trees, as a line for people and as an object for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import Enum


def as_line(kind: Enum, path: bytes, parts: Sequence[str]) -> bytes:
    """Return the kind's letter, the path, and in what it differs."""
    from overlayfs_py.cli.image_files import visible

    differing = f" ({', '.join(parts)})" if parts else ""
    return str(kind.value).encode() + b" " + visible(path) + differing.encode()


def as_json(kind: Enum, parts: Sequence[str], before: object, after: object) -> str:
    """Return an object with what was there and what is; None where nothing is."""
    facts: dict[str, object] = {"kind": kind.name.lower()}
    found = {"differs": parts, "before": before, "after": after}
    return json.dumps(facts | {name: value for name, value in found.items() if value})
