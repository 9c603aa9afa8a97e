"""One run of one workload on one side: a fresh mount, measured and checked."""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scripts.benchmarks import mounts
from scripts.benchmarks.processes import FailedError

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

    from scripts.benchmarks.mounts import Daemon, Place
    from scripts.benchmarks.sides import Side
    from scripts.benchmarks.stacks import Stack, Stacks
    from scripts.benchmarks.workload import Scale, Workload

_PATIENCE_S = 900


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement of one case."""

    case: str
    value: float
    unit: str = "s"
    operations: int = 1
    daemon_cpu_s: float | None = None
    messages: Counter[str] | None = None  # None: nobody counts them


@dataclass(frozen=True, slots=True)
class Failure:
    """A case that could not be measured."""

    case: str
    reason: str


@dataclass(slots=True)
class Session:
    """What a workload works with."""

    side: Side
    place: Place
    stacks: Stacks
    scale: Scale
    unit: str
    daemon: Daemon | None = None
    samples: list[Sample] = field(default_factory=list)
    _under_way: str | None = None  # the case whose result is not known to be right yet

    @property
    def root(self) -> Path:
        """The mount's root."""
        return self.place.target

    @property
    def stack(self) -> Stack:
        """What lies below."""
        return self.place.stack

    @property
    def served_by(self) -> Daemon:
        """The daemon of a side that has one."""
        if self.daemon is None:
            raise FailedError("this side has no daemon")
        return self.daemon

    @contextmanager
    def timed(self, case: str, operations: int = 1) -> Iterator[None]:
        """Measure what happens inside. What follows, up to the next, checks that it happened."""
        self._under_way = case
        os.sync()  # what was written before is not for this case to wait for
        messages = self._messages()
        cpu_s = self._cpu_s()
        began = time.perf_counter()
        yield
        elapsed_s = time.perf_counter() - began
        used_s = None if cpu_s is None else (self._cpu_s() or 0) - cpu_s
        sent = None if messages is None else (self._messages() or messages) - messages
        self.samples.append(Sample(case, elapsed_s, "s", operations, used_s, sent))

    def note(self, case: str, value: float) -> None:
        """Record a value that is no duration of something."""
        self._under_way = case
        self.samples.append(Sample(case, value, self.unit))

    def failures(self, workload: Workload, reason: str) -> list[Failure]:
        """Give up: what is under way and what was never measured has failed."""
        self.samples = [sample for sample in self.samples if sample.case != self._under_way]
        measured = {sample.case for sample in self.samples}
        return [Failure(case, reason) for case in workload.cases if case not in measured]

    def _messages(self) -> Counter[str] | None:
        if self.daemon is None or not self.side.counts_messages:
            return None
        return self.daemon.report().messages

    def _cpu_s(self) -> float | None:
        return None if self.daemon is None else self.daemon.cpu_s()


def measure(
    workload: Workload, side: Side, place: Place, stacks: Stacks, scale: Scale
) -> tuple[list[Sample], list[Failure]]:
    """Return what a workload found on one side."""
    session = Session(side, place, stacks, scale, workload.unit)
    place.make()
    failures: list[Failure] = []
    try:
        if workload.is_mounted:
            with side.mounted(place) as session.daemon, _deadline(session.daemon):
                workload.run(session)
        else:
            workload.run(session)
    except (FailedError, OSError) as error:
        failures = session.failures(workload, str(error))
    finally:
        mounts.remove(place)
    return session.samples, failures


@contextmanager
def _deadline(daemon: Daemon | None) -> Iterator[None]:
    """Kill a daemon that does not come to an end: then its users hear ENOTCONN, and all goes on."""
    if daemon is None:
        yield
        return
    timer = threading.Timer(_PATIENCE_S, daemon.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
