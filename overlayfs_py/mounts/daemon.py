"""The one place that starts a daemon: a process that serves a mount beside its caller.

Each has a session of its own from the beginning, so that ^C and whatever else ends a process group
passes it by. Once its mount answers, `/` is its working directory, and it has none of its caller's
descriptors; until then relative paths and /dev/fd/N mean what the caller meant by them.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.mounts import children

if TYPE_CHECKING:
    from collections.abc import Callable

    from overlayfs_py.mounts.children import Child, Report

    # Serves a mount to its end; calls what it is given, in any thread, when the mount answers.
    Serve = Callable[[Callable[[], None]], None]

_OWN_DESCRIPTORS = "/proc/self/fd"
_MOST_LOOKED_AT = 1 << 16  # where there is no /proc: a guess, 0.1 s of looking
_SYSLOG = "/dev/log"


class Until(Enum):
    """How long a daemon serves, if nobody unmounts."""

    CALLER_ENDS = "caller ends"
    KILLED = "killed"


def start(
    serve: Serve, until: Until, callers_fds: frozenset[int], *, keep_stderr: bool = False
) -> Child:
    """Fork a daemon that runs `serve`; wait for it with `Child.ready`.

    Warnings go to the system's log, with `keep_stderr` to the caller's stderr.

    Only to be called while there is one thread. The caller passes what `open_descriptors` returned
    before it opened anything for the mount: those are closed in the daemon once the mount answers.
    """
    caller_fd = os.pidfd_open(os.getpid()) if until is Until.CALLER_ENDS else None

    def work(report: Report) -> None:
        # Nothing of the caller's is collected here: that would close descriptors by numbers that
        # are the daemon's own by then.
        gc.freeze()
        if caller_fd is not None:
            children.die_with(caller_fd, signal.SIGTERM)
        os.setsid()
        # The caller may hold back signals for a command; a daemon ends at SIGTERM.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        serve(lambda: _detach(report, until, callers_fds, keep_stderr=keep_stderr))

    daemon = children.start(work)
    if caller_fd is not None:
        os.close(caller_fd)
    return daemon


def open_descriptors() -> frozenset[int]:
    """Return this process's descriptors but for stdin, stdout and stderr."""
    try:
        listed = list(map(int, os.listdir(_OWN_DESCRIPTORS)))
    except FileNotFoundError:
        listed = list(range(min(os.sysconf("SC_OPEN_MAX"), _MOST_LOOKED_AT)))
    return frozenset(fd for fd in listed if fd > 2 and _is_open(fd))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:  # EBADF: the listing's own, for example
        return False
    return True


def _detach(
    report: Report, until: Until, callers_fds: frozenset[int], *, keep_stderr: bool
) -> None:
    os.chdir("/")
    if not keep_stderr:
        log_to_syslog()
    children.take_null_stdio(keep_stderr=keep_stderr)
    for fd in callers_fds:
        with suppress(OSError):  # the caller had closed it before it forked
            os.close(fd)
    if not report.ready() and until is Until.KILLED:
        # The caller was killed: no process will unmount this.
        os.kill(os.getpid(), signal.SIGTERM)


def log_to_syslog() -> None:
    """Let warnings go to the system's log, or nowhere if there is none."""
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    if os.path.exists(_SYSLOG):
        from logging.handlers import SysLogHandler  # which brings pickle and queues along

        handler = SysLogHandler(_SYSLOG)
        handler.setFormatter(logging.Formatter("overlayfs-py[%(process)d]: %(message)s"))
        root.addHandler(handler)
    else:
        root.addHandler(logging.NullHandler())
