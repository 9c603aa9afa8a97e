"""Names by patterns, component by component, as Go's path/filepath.Match has them.

`*` and `?` never match a slash, a class is `[a-z]` or `[^a-z]`, a backslash takes what follows it
literally.
"""

from __future__ import annotations

import re
from functools import lru_cache

from overlayfs_py.late_import import late_pattern

_WILD = late_pattern(r"[*?\[]")


class BadPattern(ValueError):
    """A pattern that never matches anything because it makes no sense."""


def has_wildcards(text: str) -> bool:
    """Whether a text is a pattern: has a wildcard that no backslash takes literally."""
    return _WILD.search(re.sub(r"\\.", "", text, flags=re.DOTALL)) is not None


def matches(component: str, name: str) -> bool:
    """Whether one component of a pattern matches a name.

    Raises:
        BadPattern: a class is not closed, or is empty.
    """
    return _compiled(component).fullmatch(name) is not None


@lru_cache(maxsize=256)
def _compiled(component: str) -> re.Pattern[str]:
    out, at = [], 0
    while at < len(component):
        character = component[at]
        at += 1
        if character == "*":
            out.append(".*")
        elif character == "?":
            out.append(".")
        elif character == "[":
            made, at = _class(component, at)
            out.append(made)
        else:
            if character == "\\":
                if at == len(component):
                    raise BadPattern(component)
                character = component[at]
                at += 1
            out.append(re.escape(character))
    return re.compile("".join(out), re.DOTALL)


def _class(component: str, at: int) -> tuple[str, int]:
    """Read a class behind its bracket; returns an expression, and where it ends."""
    negated = component[at : at + 1] == "^"
    at += negated
    ranges: list[str] = []
    while True:
        if component[at : at + 1] == "]" and ranges:
            inside = "".join(ranges)
            if not inside:
                return ("." if negated else "(?!)"), at + 1
            return (f"[^{inside}]" if negated else f"[{inside}]"), at + 1
        low, at = _member(component, at)
        high = low
        if component[at : at + 1] == "-":
            high, at = _member(component, at + 1)
        if low <= high:
            ranges.append(f"{re.escape(low)}-{re.escape(high)}")
        else:  # as Go has it: a range that matches nothing
            ranges.append("")


def _member(component: str, at: int) -> tuple[str, int]:
    character = component[at : at + 1]
    if character == "\\":
        at += 1
        character = component[at : at + 1]
    elif character in {"-", "]"}:
        raise BadPattern(component)
    if not character or at + 1 >= len(component):
        raise BadPattern(component)
    return character, at + 1
