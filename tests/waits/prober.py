"""A process that uses a directory of its own, and how long it had to wait for an answer."""

from __future__ import annotations

import mmap
import os
import signal
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOUND_S = 0.05
_PAUSE_S = 0.001
_FIGURES = struct.Struct("ddQQ")


class Waits(NamedTuple):
    """What was waited for."""

    longest_s: float  # what the machine had no processor for left aside
    longest_in_all_s: float
    calls: int
    too_long: int  # of them: more than `BOUND_S`


class Prober:
    """Makes, looks for and removes a name, one call each millisecond, in a directory beside."""

    def __init__(self, directory: Path, daemon_pid: int) -> None:
        """`daemon_pid` is the process that answers."""
        self._shared = mmap.mmap(-1, mmap.PAGESIZE)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                self._schedules = [
                    os.open(f"/proc/{pid}/task/{pid}/schedstat", os.O_RDONLY)
                    for pid in (daemon_pid, os.getpid())
                ]
                self._probe(directory)
            finally:
                os._exit(1)

    def begin(self) -> None:
        """Count from now on."""
        _FIGURES.pack_into(self._shared, 0, 0.0, 0.0, 0, 0)

    def waits(self) -> Waits:
        """What there has been since."""
        return Waits(*_FIGURES.unpack_from(self._shared))

    def close(self) -> None:
        """End the process."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)

    def _probe(self, directory: Path) -> None:
        number = 0
        while True:
            number += 1
            path = os.fspath(directory / f"{number}")
            self._time(lambda: os.path.lexists(path))  # noqa: B023 - called at once
            self._time(lambda: os.mkfifo(path))  # noqa: B023
            self._time(lambda: os.unlink(path))  # noqa: B023

    def _time(self, call: Callable[[], object]) -> None:
        begun, queued = time.monotonic(), self._queued_s()
        call()
        in_all = time.monotonic() - begun
        took = in_all - (self._queued_s() - queued)
        longest, longest_in_all, calls, too_long = self.waits()
        figures = (max(longest, took), max(longest_in_all, in_all))
        _FIGURES.pack_into(self._shared, 0, *figures, calls + 1, too_long + (took > BOUND_S))
        time.sleep(_PAUSE_S)

    def _queued_s(self) -> float:
        """How long the daemon and this process have waited for a processor, all in all.

        Source: Documentation/scheduler/sched-stats.rst, "/proc/<pid>/schedstat".
        """
        return sum(int(os.pread(fd, 100, 0).split()[1]) for fd in self._schedules) / 1e9
