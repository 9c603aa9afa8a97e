"""What a container is doing: a small file that its monitor replaces at every change.

The monitor holds the container's lock as long as it lives. A file that says "running" without a
holder of the lock is what a killed monitor left: the kernel ended the container with it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.containers import cgroup
from overlayfs_py.errors import Failure
from overlayfs_py.store import durable, locks
from overlayfs_py.store.containers import LOCK

if TYPE_CHECKING:
    from pathlib import Path

FILE = "state.json"
KILLED_STATUS = 137  # 128 + SIGKILL: what docker shows for a container that was killed


class Status(Enum):
    """What docker calls it."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    EXITED = "exited"


_LIVING = frozenset({Status.RUNNING, Status.PAUSED, Status.RESTARTING})


class NotRunning(Failure):
    """A container that would have to run."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name}: the container is not running")


class HealthState(Enum):
    """What a container's health check found."""

    NONE = "none"  # it has none
    STARTING = "starting"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """`containers/ID/state.json`. Times are nanoseconds since 1970, 0 where it never happened."""

    status: Status = Status.CREATED
    pid: int = 0  # of the first process, as the monitor's pid namespace counts; 0 if none
    monitor_pid: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    error: str = ""  # why it could not be started
    restarts: int = 0
    was_stopped: bool = False  # by a person: `unless-stopped` leaves it so
    out_of_memory: bool = False  # whether the kernel killed a process for want of memory
    health: HealthState = HealthState.NONE
    failing_streak: int = 0
    ports: tuple[str, ...] = ()  # as bound: ADDRESS:PORT->PORT/tcp


def read(directory: Path) -> State:
    """Return what a container is doing; one that was never started has no file.

    Raises:
        CorruptStore: the file is damaged, or is no file.
    """
    try:
        raw = durable.read_file(directory / FILE)
        state = msgspec.json.decode(raw, type=State)
    except FileNotFoundError:
        return State()
    except (msgspec.DecodeError, UnicodeError):
        # It is written without waiting for the disk: a power cut may have left an empty one.
        return State(status=Status.EXITED, exit_code=KILLED_STATUS)
    if state.status in _LIVING and not locks.is_held(directory / LOCK):
        _clean_up(directory)
        return msgspec.structs.replace(
            state,
            status=Status.EXITED,
            pid=0,
            monitor_pid=0,
            exit_code=KILLED_STATUS,
            finished_ns=state.finished_ns or _changed_ns(directory),
            ports=(),
        )
    return state


def write(directory: Path, state: State) -> None:
    """Replace the file at once, without waiting for the disk: it means nothing after a reboot."""
    temporary = directory / f".{FILE}"
    temporary.write_bytes(msgspec.json.encode(state))
    temporary.rename(directory / FILE)


def _clean_up(directory: Path) -> None:
    """Remove what the kernel has not, when it ended all that the monitor had started."""
    if not (directory / cgroup.FILE).exists():
        return
    held = locks.try_acquire(directory / LOCK, locks.Mode.EXCLUSIVE)
    if held is not None:  # else another monitor has its own there by now
        with held, suppress(OSError):
            cgroup.remove(directory)


def _changed_ns(directory: Path) -> int:
    """About when the monitor was killed: not before its last change."""
    return os.stat(directory / FILE).st_mtime_ns
