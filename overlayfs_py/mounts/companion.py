"""The side of a companion: a process that serves one other by lines of JSON, and ends with it."""

from __future__ import annotations

import json
import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.errors import describe, exit_code_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeAlias

    Requests: TypeAlias = Iterator[dict[str, object]]

_STDIN, _STDOUT = 0, 1
_BLOCK = 1 << 16


def requests(callers_pidfd: int) -> Requests:
    """Yield what the caller asks, until it ends or closes stdin."""
    rest = b""
    while True:
        ready, _, _ = select.select([_STDIN, callers_pidfd], [], [])
        if callers_pidfd in ready:
            return
        block = os.read(_STDIN, _BLOCK)
        if not block:
            return
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield json.loads(line)


def answer(answer: dict[str, object]) -> None:
    """Answer a request."""
    with suppress(BrokenPipeError):  # the caller has gone; `requests` ends
        os.write(_STDOUT, json.dumps(answer).encode() + b"\n")


def answer_failure(error: OSError) -> None:
    """Answer that something failed."""
    answer({"error": describe(error), "exit_code": exit_code_of(error)})
