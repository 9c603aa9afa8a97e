"""Points in time as configs write them, and as Go prints them. All are UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from overlayfs_py.late_import import late_pattern

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND_NS = 1_000_000_000
# RFC 3339; Go reads any number of digits after the point, and we keep nine.
_FORM = late_pattern(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:[.,](\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
# Images without a date say one of year 1, or of 1970 or 1980.
_OLDEST_YEAR = 2000


def parse_time(text: str) -> int | None:
    """Return the nanoseconds since the epoch; None if the text is no time."""
    found = _FORM.fullmatch(text)
    if found is None:
        return None
    date, clock, fraction, sign, hours, minutes = found.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}").replace(tzinfo=UTC)
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        seconds = (moment - _EPOCH) // timedelta(seconds=1)
    except ValueError:
        return None
    seconds += (1 if sign == "-" else -1) * (offset // timedelta(seconds=1))
    return seconds * _SECOND_NS + int((fraction or "0")[:9].ljust(9, "0"))


def is_dated(time_ns: int) -> bool:
    """Whether it says when something was made: what is of the year 2000 or older does not."""
    return _moment(time_ns).year > _OLDEST_YEAR


def rfc3339(time_ns: int) -> str:
    """`2024-01-02T03:04:05Z`, with a fraction where there is one."""
    return f"{_moment(time_ns):%Y-%m-%dT%H:%M:%S}{_fraction(time_ns)}Z".rjust(20, "0")


def go_text(time_ns: int) -> str:
    """`2024-01-02 03:04:05.5 +0000 UTC`, Go's String of a time."""
    return f"{_moment(time_ns):%Y-%m-%d %H:%M:%S}{_fraction(time_ns)} +0000 UTC"


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(seconds=time_ns // _SECOND_NS)


def _fraction(time_ns: int) -> str:
    nanoseconds = time_ns % _SECOND_NS
    return f".{nanoseconds:09d}".rstrip("0") if nanoseconds else ""
