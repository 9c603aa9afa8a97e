"""Signals that come to a daemon before its driver can heed them: from before it mounts."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEARD_LATER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Only take note, while inside, of signals that end or ask a daemon; the driver raises them.

    By their default action the process would end, and leave a mount that nobody serves.
    """
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: noted.append(number))
        for number in _HEARD_LATER
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
