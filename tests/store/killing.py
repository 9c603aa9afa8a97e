"""Processes that change a store and are killed: at a chosen system call, or at any moment."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from overlayfs_py.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_OS_CALLS = ("open", "write", "fsync", "rename", "mkdir", "unlink", "rmdir", "ftruncate")
_OPEN = os.open


class _Countdown:
    """Ends the process before or after so many more calls that change a filesystem."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def after(self, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            if call is _OPEN and not int(args[1]) & os.O_CREAT:
                return call(*args, **kwargs)
            answer = call(*args, **kwargs)
            self.left -= 1
            if self.left == 0:
                os._exit(1)
            return answer

        return counted


def forked(run: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run()
        except BaseException:  # a child of a test must never become a second pytest
            os._exit(3)
        os._exit(0)
    return pid


def killed_after(calls: int, root: Path, change: Callable[[Store], object]) -> bool:
    """Do a change in a process that dies after so many calls; False where it got through."""

    def run() -> None:
        countdown = _Countdown(calls)
        for name in _OS_CALLS:
            setattr(os, name, countdown.after(getattr(os, name)))
        change(Store.open(root))

    status = os.waitstatus_to_exitcode(os.waitpid(forked(run), 0)[1])
    assert status in (0, 1)
    return status == 1


def killed_at(seconds: float, root: Path, change: Callable[[Store], object]) -> None:
    """Do a change again and again in a process that is killed after a while."""

    def run() -> None:
        while True:
            change(Store.open(root))

    pid = forked(run)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
