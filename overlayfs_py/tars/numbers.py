"""Numbers in tar headers: octal text, and base 256 where that is too short.

Sources: POSIX pax, "ustar Interchange Format"; GNU tar manual, "Extensions to the Archive
Format". What is accepted is what Go's archive/tar accepts, since that is what reads layers
elsewhere.
"""

from __future__ import annotations

import re
from functools import lru_cache

_OCTAL = re.compile(rb"[0-7]+")
_DECIMAL = re.compile(rb"[0-9]{1,19}")
_TIME = re.compile(rb"(-?)([0-9]{1,19})(?:\.([0-9]*))?")
_BINARY = 0x80
_NEGATIVE = 0x40
_SECOND_NS = 1_000_000_000
MOST_INT64 = (1 << 63) - 1


def parse_number(field: bytes) -> int:
    """Read a header's field; blank is 0.

    Raises:
        ValueError: it is none.
    """
    if field[0] & _BINARY:
        return _parse_binary(field)
    text = field.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    if _OCTAL.fullmatch(text) is None:
        raise ValueError(f"not an octal number: {text[:32]!r}")
    return int(text, 8)


def _parse_binary(field: bytes) -> int:
    """Two's complement, big-endian; the first bit only says that it is."""
    bits = 8 * len(field) - 1
    value = int.from_bytes(field, "big") & ((1 << bits) - 1)
    if field[0] & _NEGATIVE:
        value -= 1 << bits
    if not -MOST_INT64 <= value <= MOST_INT64:
        raise ValueError("a number of more than 64 bits")
    return value


@lru_cache(maxsize=1024)  # modes, owners and times are mostly the same
def format_octal(value: int, width: int) -> bytes | None:
    """Write a field of `width` bytes as POSIX wants it; None where it does not fit."""
    text = b"%0*o\0" % (width - 1, value) if value >= 0 else b""
    return text if len(text) == width else None


def parse_decimal(text: bytes) -> int:
    """Read a number that is not negative from a PAX record.

    Raises:
        ValueError: it is none, or has more than 63 bits.
    """
    if _DECIMAL.fullmatch(text) is None or int(text) > MOST_INT64:
        raise ValueError(f"not a number that can be: {text[:32]!r}")
    return int(text)


def parse_time_ns(text: bytes) -> int:
    """Read a PAX time, seconds with a fraction, exactly; what is below a nanosecond is dropped.

    Raises:
        ValueError: it is none, or has more seconds than 64 bits hold.
    """
    found = _TIME.fullmatch(text)
    if found is None or int(found[2]) > MOST_INT64:
        raise ValueError(f"not a time: {text[:32]!r}")
    nanoseconds = int((found[3] or b"0")[:9].ljust(9, b"0"))
    magnitude = int(found[2]) * _SECOND_NS + nanoseconds
    return -magnitude if found[1] else magnitude


def format_time(time_ns: int) -> bytes:
    """Write a PAX time, no longer than it must be."""
    sign = b"-" if time_ns < 0 else b""
    seconds, nanoseconds = divmod(abs(time_ns), _SECOND_NS)
    fraction = (b".%09d" % nanoseconds).rstrip(b"0") if nanoseconds else b""
    return sign + b"%d" % seconds + fraction
