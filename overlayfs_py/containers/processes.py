"""The processes of a container, as /proc outside shows them."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

from overlayfs_py.containers import cgroup
from overlayfs_py.named_tuple import NamedTuple

_PROC = Path("/proc")
_GONE = (FileNotFoundError, ProcessLookupError)
_TICKS = os.sysconf("SC_CLK_TCK")


def inside(first: int) -> list[int]:
    """The pids of a container's processes; `first` is that of its first.

    Those of its pid namespace, whoever started them, and what has come from them in others.
    """
    namespace = _namespace_of(first)
    if namespace is None:
        return []
    parents = {pid: parent for pid in _all() if (parent := _parent_of(pid)) is not None}
    found = {pid for pid in parents if _namespace_of(pid) == namespace}
    pending = True
    while pending:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        pending = bool(more)
    return sorted(found)


def only_child_of(pid: int) -> int:
    """The pid of a process's only child.

    Raises:
        ProcessLookupError: it has ended, or there are several.
    """
    try:
        listed = (_PROC / f"{pid}/task/{pid}/children").read_text().split()
        found = list(map(int, listed))
    except FileNotFoundError:  # a kernel built without it, or no such process
        found = [other for other in _all() if _parent_of(other) == pid]
    if len(found) != 1:
        raise ProcessLookupError
    return found[0]


def is_child_of(pid: int, parent: int) -> bool:
    """Whether a process is there, and another's child."""
    return _parent_of(pid) == parent


class Frozen:
    """The processes of a container, stopped where they are.

    By SIGSTOP: what is stopped forks no more, so a look that finds no other one has found all. A
    parent hears of it as of any child that stops. Those that were stopped before stay so.
    """

    def __init__(self, first: int) -> None:
        self._first = first
        self._left_alone: set[int] = set()
        seen: set[int] = set()
        while new := set(inside(first)) - seen:
            for pid in sorted(new):
                if _state_of(pid) in "Tt":
                    self._left_alone.add(pid)
                else:
                    _send(pid, signal.SIGSTOP)
            seen |= new

    def go_on(self) -> None:
        for pid in set(inside(self._first)) - self._left_alone:
            _send(pid, signal.SIGCONT)


class Use(NamedTuple):
    """What a container uses of the machine."""

    cpu_s: float = 0.0
    memory_bytes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    pids: int = 0


def use_of(first: int, own_cgroup: tuple[Path, ...] = ()) -> Use:
    """What a container uses.

    Its cgroup says how much memory, if there is one that counts it; otherwise memory that processes
    share counts once (Pss of proc(5)).
    """
    counted = cgroup.memory_bytes(own_cgroup)
    pids = inside(first)
    cpu_s, memory, read, written = 0.0, 0, 0, 0
    for pid in pids:
        with suppress(*_GONE, PermissionError):
            fields = _fields(pid)
            cpu_s += (int(fields[11]) + int(fields[12])) / _TICKS
            memory += _kilobytes(pid) * 1024 if counted is None else 0
            io = dict(line.split(": ") for line in (_PROC / f"{pid}/io").read_text().splitlines())
            read += int(io["read_bytes"])
            written += int(io["write_bytes"])
    received, sent = _traffic(first)
    return Use(
        cpu_s, memory if counted is None else counted, read, written, received, sent, len(pids)
    )


def _kilobytes(pid: int) -> int:
    try:
        text = (_PROC / f"{pid}/smaps_rollup").read_text()
    except _GONE:  # a process without memory of its own is ending
        return 0
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def _traffic(first: int) -> tuple[int, int]:
    """Bytes received and sent in its network namespace, but for the loopback's."""
    received = sent = 0
    with suppress(*_GONE):
        for line in (_PROC / f"{first}/net/dev").read_text().splitlines()[2:]:
            name, _, numbers = line.partition(":")
            if name.strip() != "lo":
                fields = numbers.split()
                received += int(fields[0])
                sent += int(fields[8])
    return received, sent


def _all() -> list[int]:
    return [int(name) for name in os.listdir(_PROC) if name.isdigit()]


def _namespace_of(pid: int) -> int | None:
    try:
        return os.stat(_PROC / f"{pid}/ns/pid").st_ino
    except (*_GONE, PermissionError):  # gone, or another user's
        return None


def _fields(pid: int) -> list[bytes]:
    """Those of /proc/PID/stat from the state on; the name before it may hold anything."""
    return (_PROC / f"{pid}/stat").read_bytes().rpartition(b")")[2].split()


def _parent_of(pid: int) -> int | None:
    try:
        return int(_fields(pid)[1])
    except _GONE:
        return None


def _state_of(pid: int) -> str:
    try:
        return _fields(pid)[0].decode()
    except _GONE:
        return "X"


def _send(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
