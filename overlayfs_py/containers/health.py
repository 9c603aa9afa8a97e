"""Whether a container works: its health check, run in it again and again, by docker's rules.

Each run is a process of its own beside the monitor, as a session of `exec` is one: it joins the
container, reaps the check, and kills it where it takes too long (moby, daemon/health.go).
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from typing import TYPE_CHECKING

from overlayfs_py.containers import session
from overlayfs_py.containers.entrance import open_entrance
from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.containers.launch import environment_of
from overlayfs_py.containers.process import Process
from overlayfs_py.containers.rights import Rights
from overlayfs_py.containers.session import Extra
from overlayfs_py.containers.state import HealthState
from overlayfs_py.containers.working_directory import WorkingDirectory
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.containers.event_loop import EventLoop, Timer
    from overlayfs_py.mounts.children import Child, Report
    from overlayfs_py.store.containers import ContainerRecord, Health

_SECOND_NS = 10**9
# Docker's defaults.
_INTERVAL_NS = 30 * _SECOND_NS
_TIMEOUT_NS = 30 * _SECOND_NS
_START_INTERVAL_NS = 5 * _SECOND_NS
_RETRIES = 3


class HealthCheck:
    """The checks of one run of a container's command."""

    def __init__(
        self,
        loop: EventLoop,
        record: ContainerRecord,
        directory: Path,
        mask: set[int],
        tell: Callable[[HealthState, int], None],
    ) -> None:
        assert record.healthcheck is not None
        self._loop = loop
        self._record = record
        self._check: Health = record.healthcheck
        self._directory = directory
        self._mask = mask
        self._tell = tell
        self._began = time.monotonic()
        self._state = HealthState.STARTING
        self._streak = 0
        self._timer: Timer | None = None
        self._is_over = False
        tell(self._state, 0)
        self._wait()

    def stop(self) -> None:
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def _is_starting(self) -> bool:
        passed_s = time.monotonic() - self._began
        return (
            self._state is HealthState.STARTING
            and passed_s < self._check.start_period_ns / _SECOND_NS
        )

    def _wait(self) -> None:
        interval_ns = self._check.interval_ns or _INTERVAL_NS
        if self._is_starting():
            interval_ns = self._check.start_interval_ns or min(_START_INTERVAL_NS, interval_ns)
        self._timer = self._loop.call_later(interval_ns / _SECOND_NS, self._probe)

    def _probe(self) -> None:
        was_starting = self._is_starting()
        child = _start(self._record, self._check, self._directory, self._mask)
        fd = os.pidfd_open(child.pid)

        def ended() -> None:
            self._loop.forget(fd)
            os.close(fd)
            status = child.wait()
            if not self._is_over:
                self._count(is_good=not status, counts=not was_starting)
                self._wait()

        self._loop.watch(fd, READABLE, ended)

    def _count(self, *, is_good: bool, counts: bool) -> None:
        if is_good:
            self._state, self._streak = HealthState.HEALTHY, 0
        elif counts:
            self._streak += 1
            if self._streak >= (self._check.retries or _RETRIES):
                self._state = HealthState.UNHEALTHY
        self._tell(self._state, self._streak)


def _start(record: ContainerRecord, check: Health, directory: Path, mask: set[int]) -> Child:
    process = Process(
        _words(check.test),
        environment_of(record, tty=False),
        WorkingDirectory(os.fsencode(record.directory)),
        record.user,
        user_is_wish=record.user_is_wish,
        groups=record.groups,
    )
    extra = Extra(record, process, Rights.of(record, privileged=record.privileged))
    timeout_s = (check.timeout_ns or _TIMEOUT_NS) / _SECOND_NS

    def work(report: Report) -> int:
        gc.freeze()  # nothing of the monitor's is collected, and closed, here
        assert report.fd is not None
        children.close_all_but(report.fd)
        children.take_null_stdio()
        return _run(extra, directory, mask, timeout_s)

    return children.start(work)


def _words(test: tuple[str, ...]) -> tuple[bytes, ...]:
    words = ("/bin/sh", "-c", *test[1:]) if test[0] == "CMD-SHELL" else test[1:]
    return tuple(map(os.fsencode, words))


def _run(extra: Extra, directory: Path, mask: set[int], timeout_s: float) -> int:
    """Run the check, and return its exit status."""
    entrance = open_entrance(directory, extra.record)
    namespaces.hide_from_tracers()
    entrance.enter_outside()
    own_fd = os.pidfd_open(os.getpid())
    child = session.fork_inside(extra, entrance, own_fd, (0, 1, 2), None, mask)
    fd = os.pidfd_open(child.pid)
    ready, _, _ = select.select([fd], [], [], timeout_s)
    if not ready:
        child.kill(signal.SIGKILL)
    return child.wait()
