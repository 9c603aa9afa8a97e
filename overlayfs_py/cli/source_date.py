"""SOURCE_DATE_EPOCH: the time that what is built again is to say of itself.

Source: reproducible-builds.org/specs/source-date-epoch.
"""

from __future__ import annotations

import os
import time

from overlayfs_py.errors import Failure


def created_ns() -> int:
    """Now, or what the environment says instead."""
    told = source_date_ns()
    return time.time_ns() if told is None else told


def source_date_ns() -> int | None:
    """What the environment says, None if that is nothing."""
    text = os.environ.get("SOURCE_DATE_EPOCH")
    return None if text is None else parse(text)


def parse(text: str) -> int:
    """The nanoseconds that a value of it means."""
    if not text.isascii() or not text.isdecimal():
        raise Failure(f"SOURCE_DATE_EPOCH: {text!r} is no number of seconds")
    return int(text) * 1_000_000_000
