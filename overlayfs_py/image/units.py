"""Sizes and durations as docker prints them (docker/go-units, size.go and duration.go)."""

from __future__ import annotations

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_SECOND_NS = 1_000_000_000
_MINUTE_S, _HOUR_S = 60, 3600
_DAY_H, _WEEK_H, _MONTH_H, _YEAR_H = 24, 24 * 7, 24 * 30, 24 * 365


def human_size(size_bytes: float, digits: int = 4) -> str:
    """`211.5MB`: base 1000, so many digits; 999.95 of a unit may print as `1e+03kB`, as in Go."""
    size, unit = float(size_bytes), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.{digits}g}{_UNITS[unit]}"


def human_duration(duration_ns: int) -> str:
    """`About an hour`, `3 weeks`: how long something took or is ago."""
    seconds = int(duration_ns / _SECOND_NS)  # towards zero, as Go's
    if seconds < 1:
        return "Less than a second"
    if seconds < _MINUTE_S:
        return "1 second" if seconds == 1 else f"{seconds} seconds"
    minutes = seconds // _MINUTE_S
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    hours = int(duration_ns / (_HOUR_S * _SECOND_NS) + 0.5)
    return "About an hour" if hours == 1 else _human_hours(hours, seconds // _HOUR_S)


def _human_hours(rounded: int, whole: int) -> str:
    if rounded < 2 * _DAY_H:
        return f"{rounded} hours"
    if rounded < 2 * _WEEK_H:
        return f"{rounded // _DAY_H} days"
    if rounded < 2 * _MONTH_H:
        return f"{rounded // _WEEK_H} weeks"
    if rounded < 2 * _YEAR_H:
        return f"{rounded // _MONTH_H} months"
    return f"{whole // _YEAR_H} years"
