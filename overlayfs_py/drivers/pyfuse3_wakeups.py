"""Get the serving thread out of a read that finds nothing, while a thread works for somebody.

pyfuse3 waits until the device is readable, then reads it blocking. A request may be withdrawn in
between, as its process is killed: then the read lasts until the next one. Meanwhile nobody hears
that a copy-up or an fsync is done, and where all users of the mount wait for such, for ever. A
signal ends the read with EINTR, and pyfuse3 goes back to where it hears of both.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Guess: short beside what waits in threads; one that comes just before the read misses it.
_PERIOD_S = 0.1


@contextmanager
def possible() -> Iterator[None]:
    """Let the signal do nothing but interrupt; to be used in the main thread."""
    before = signal.signal(signal.SIGALRM, lambda *_: None)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Wakeups:
    """Signals, ten a second, for as long as requests wait."""

    def __init__(self) -> None:
        self._waiting = 0

    @contextmanager
    def while_waiting(self) -> Iterator[None]:
        """Count one request that waits inside."""
        self._waiting += 1
        if self._waiting == 1:
            signal.setitimer(signal.ITIMER_REAL, _PERIOD_S, _PERIOD_S)
        try:
            yield
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                signal.setitimer(signal.ITIMER_REAL, 0)
