"""Requests of a mount by process: counted only while somebody watches."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_KERNEL = 0  # what no process waits for: write-back, read-ahead


class ProcessRequests(NamedTuple):
    """What one process has asked for."""

    pid: int  # as this daemon sees it; 0: the kernel itself, or a process that it does not see
    name: str
    requests: dict[str, int]  # by kind


class _Process(NamedTuple):
    pid: int
    name: str


class RequestCounts:
    """Counts, from its making on."""

    def __init__(self, name_of: Callable[[int], str]) -> None:
        """`name_of` says what a kind of request is called."""
        self._name_of = name_of
        self._counts: Counter[tuple[int, int]] = Counter()  # by thread and kind
        self._processes: dict[int, _Process] = {}  # by thread, as it was at its first request

    def note(self, thread: int, kind: int) -> None:
        """Count a request."""
        if thread not in self._processes:
            self._processes[thread] = _process_of(thread)
        self._counts[thread, kind] += 1

    def take(self) -> list[ProcessRequests]:
        """Return what has come since the last time, the busiest first."""
        counts, self._counts = self._counts, Counter()
        by_process: dict[_Process, Counter[str]] = {}
        for (thread, kind), count in counts.items():
            kinds = by_process.setdefault(self._processes[thread], Counter())
            kinds[self._name_of(kind)] += count
        self._processes.clear()  # a number may be another process's the next time
        found = [
            ProcessRequests(process.pid, process.name, dict(kinds.most_common()))
            for process, kinds in by_process.items()
        ]
        return sorted(found, key=lambda each: (-sum(each.requests.values()), each.pid))


def _process_of(thread: int) -> _Process:
    if thread == _KERNEL:
        return _Process(_KERNEL, "")
    name, pid = "", thread
    with suppress(OSError), open(f"/proc/{thread}/status", errors="replace") as lines:
        for line in lines:
            field, _, value = line.partition(":\t")
            if field == "Name":
                name = value.rstrip("\n")
            elif field == "Tgid":
                pid = int(value)
                break
    return _Process(pid, name)
