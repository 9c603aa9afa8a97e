"""Spans of time as Go writes them, which docker's options, Dockerfiles and configs do."""

from __future__ import annotations

import re

from overlayfs_py.late_import import late_pattern

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
}
_PART = rf"([0-9]{{1,19}}(?:\.[0-9]{{0,19}})?|\.[0-9]{{1,19}})({'|'.join(_UNITS_NS)})"
_DURATION = late_pattern(rf"(?:{_PART})+")


def is_duration(text: str) -> bool:
    """Whether `text` is a span of time that does not go backwards, `1h30m` for example."""
    return _DURATION.fullmatch(text) is not None


def parse_duration(text: str) -> int:
    """Return the nanoseconds of `1h30m`, as Go reads it.

    Raises:
        ValueError: it is no duration.
    """
    if not is_duration(text):
        raise ValueError(text)
    return sum(int(float(size) * _UNITS_NS[unit]) for size, unit in re.findall(_PART, text))
