"""Figures that are no durations of a workload: memory, idleness, the slowest answer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from scripts.benchmarks import hammer
from scripts.benchmarks.processes import count_lines, require
from scripts.benchmarks.stacks import LARGE_FILE
from scripts.benchmarks.workload import Family, has_daemon, is_overlay

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from scripts.benchmarks.session import Session

FAMILY = Family()
_SETTLE_S = 1.0
_BUSY = "find -printf %s, first, all processors busy"


@FAMILY.add(
    "memory",
    "memory per walked entry",
    "memory per walked entry, after the kernel forgot them",
    stack=lambda scale: f"forest-{scale.walked}",
    unit="B",
    applies=has_daemon,
    is_steady=True,
)
def memory(session: Session) -> None:
    daemon = session.served_by
    before = daemon.resident_bytes()
    seen = count_lines(["find", session.root, "-printf", "%s\n"])
    require(seen >= session.scale.walked, f"find saw {seen} of {session.scale.walked} entries")
    grown = daemon.resident_bytes() - before
    session.note("memory per walked entry", grown / seen)
    Path("/proc/sys/vm/drop_caches").write_text("2")
    # FORGETs have no answer that could be waited for: they are through when its CPU rests.
    _wait_for_rest(session)
    kept = daemon.resident_bytes() - before
    session.note("memory per walked entry, after the kernel forgot them", kept / seen)


@FAMILY.add("idle", "CPU of an idle mount, per minute", applies=has_daemon, is_steady=True)
def idle(session: Session) -> None:
    count_lines(["find", session.root, "-printf", "%s\n"])
    before = session.served_by.cpu_s()
    time.sleep(session.scale.idle_s)
    used = session.served_by.cpu_s() - before
    session.note("CPU of an idle mount, per minute", used * 60 / session.scale.idle_s)


@FAMILY.add("busy", _BUSY)
def busy(session: Session) -> None:
    expected = len(session.stack.entries) + 1
    burning = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as burners:
        for _ in range(os.cpu_count() or 1):
            burners.enter_context(_running(burning))
        with session.timed(_BUSY, expected):
            seen = count_lines(["find", session.root, "-printf", "%s\n"])
    require(seen == expected, f"find saw {seen} of {expected} entries")


@FAMILY.add(
    "hammer",
    "slowest stat during a large copy-up",
    "99th percentile of those stats",
    "the large copy-up meanwhile",
    stack=lambda scale: f"large-{scale.copied_mib}",
    applies=is_overlay,
)
def hammered(session: Session) -> None:
    """Processes that stat names nobody has asked for before, while one file is copied up."""
    command = [sys.executable, hammer.__file__, str(session.root)]
    with ExitStack() as stack:
        hammers = [
            stack.enter_context(_running([*command, str(number)], pipes=True))
            for number in range(session.scale.hammers)
        ]
        began = time.perf_counter()
        with (session.root / LARGE_FILE).open("ab") as file:
            file.write(b"!")
        copied_s = time.perf_counter() - began
        waits_s = sorted(wait for process in hammers for wait in _results(process))
    size = (session.root / LARGE_FILE).stat().st_size
    require(size == (session.scale.copied_mib << 20) + 1, f"the copy has {size} bytes")
    session.note("slowest stat during a large copy-up", waits_s[-1])
    session.note("99th percentile of those stats", waits_s[len(waits_s) * 99 // 100])
    session.note("the large copy-up meanwhile", copied_s)


def _results(process: subprocess.Popen[bytes]) -> list[float]:
    output, _ = process.communicate()
    waits: list[float] = json.loads(output)
    return waits


@contextmanager
def _running(
    command: Sequence[str | Path], *, pipes: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    pipe = subprocess.PIPE if pipes else subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        try:
            yield process
        finally:
            process.kill()


def _wait_for_rest(session: Session) -> None:
    before = -1.0
    while (used := session.served_by.cpu_s()) - before > _SETTLE_S / 100:
        before = used
        time.sleep(_SETTLE_S)
