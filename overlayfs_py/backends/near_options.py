"""What somebody may have meant by an option that there is none of. Loaded where one was written."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def near_option(word: str, names: Iterable[str]) -> str | None:
    """Return the option whose name `word` may have been meant to be."""
    near = difflib.get_close_matches(word, sorted(names), n=1, cutoff=0.7)
    return near[0] if near else None
