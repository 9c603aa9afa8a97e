"""HEALTHCHECK: a test and how often."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from overlayfs_py.dockerfile.flags import FlagNames
from overlayfs_py.dockerfile.instructions import Healthcheck
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.dockerfile.words import Word, stripped
from overlayfs_py.durations import parse_duration
from overlayfs_py.late_import import late_pattern
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from overlayfs_py.dockerfile.call import Call
    from overlayfs_py.dockerfile.flags import Flags

_TIMES = ("interval", "timeout", "start-period", "start-interval")
_FLAGS = FlagNames(single=(*_TIMES, "retries"))
_SHORTEST_NS = 1_000_000
_MOST_RETRIES = 2**31 - 1
_FORMS = "HEALTHCHECK [FLAGS] CMD COMMAND, or HEALTHCHECK NONE"
_KIND = late_pattern(f"[^{SPACES}]*")


def read_healthcheck(call: Call) -> Healthcheck:
    """Read a HEALTHCHECK."""
    found = _KIND.match(call.rest.text)
    kind = found[0].upper() if found else ""
    if not kind:
        raise call.error(f"HEALTHCHECK lacks a test: {_FORMS}")
    rest = stripped(Word(call.rest.text[len(kind) :], call.rest.offset + len(kind)))
    if kind == "NONE":
        call.require_no_flags()
        if rest.text:
            raise call.error("HEALTHCHECK NONE takes nothing more", rest)
        return Healthcheck(**call.common(), test=("NONE",))
    flags = call.flags(_FLAGS)
    if kind != "CMD":
        raise call.error(f"no health check {quoted(kind)}: {_FORMS}", call.rest)
    words = call.strings(rest)
    if words == () or not rest.text:
        raise call.error("HEALTHCHECK CMD lacks a command", rest)
    times = [_time(call, flags, name) for name in _TIMES]
    return Healthcheck(
        **call.common(),
        test=("CMD-SHELL", rest.text) if words is None else ("CMD", *words),
        interval_ns=times[0],
        timeout_ns=times[1],
        start_period_ns=times[2],
        start_interval_ns=times[3],
        retries=_retries(call, flags),
    )


def _time(call: Call, flags: Flags, name: str) -> int:
    word = flags.word(name)
    if word is None or word.text in ("", "0"):
        return 0
    try:
        found = parse_duration(word.text)
    except ValueError:
        raise call.error(
            f"--{name}={quoted(word.text)}: expected a time, as 30s or 1m30s", word
        ) from None
    if 0 < found < _SHORTEST_NS:
        raise call.error(f"--{name}={word.text}: less than 1ms", word)
    return found


def _retries(call: Call, flags: Flags) -> int:
    word = flags.word("retries")
    if word is None or not word.text:
        return 0
    if re.fullmatch("[+]?[0-9]{1,10}", word.text) is None or int(word.text) > _MOST_RETRIES:
        raise call.error(f"--retries={quoted(word.text)}: expected a number", word)
    return int(word.text)
