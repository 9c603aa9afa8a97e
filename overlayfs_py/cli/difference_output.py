"""A difference between two trees, as a line for people and as an object for programs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from enum import Enum


def as_line(kind: Enum, path: bytes, parts: Sequence[str]) -> str:
    """Return the kind's letter, the path, and in what it differs."""
    differing = f" ({', '.join(parts)})" if parts else ""
    return f"{kind.value} {for_terminal(path)}{differing}"


def as_json(kind: Enum, parts: Sequence[str], before: object, after: object) -> str:
    """Return an object with what was there and what is; None where nothing is."""
    facts: dict[str, object] = {"kind": kind.name.lower()}
    found = {"differs": parts, "before": before, "after": after}
    return json.dumps(facts | {name: value for name, value in found.items() if value})
