"""Signals for a command in a container: who gets which, and when patience ends.

Two processes stand between the user and the command, the supervisor outside and init inside. Both
wait for signals instead of handling them, so nothing interrupts what they do in between.
"""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from overlayfs_py.errors import Failure
from overlayfs_py.mounts.children import in_words, shell_status

if TYPE_CHECKING:
    from overlayfs_py.mounts.children import Child

_FORWARDED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_FROM_TERMINAL = frozenset({signal.SIGINT, signal.SIGQUIT})
_SI_KERNEL = 0x80  # <bits/siginfo-consts.h>: not sent by a process
_ENDING = frozenset({signal.SIGTERM, signal.SIGHUP})
# How long a command may take to end after one of these before it is killed.
GRACE_S = 10.0


def block() -> set[int]:
    """Hold back the signals that `supervise` and `run_init` wait for; returns the mask before.

    What the caller ignores (nohup, a background job) stays ignored, for the command too.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    watched = {number for number in _FORWARDED if signal.getsignal(number) != signal.SIG_IGN}
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, watched | {signal.SIGCHLD}))


def restore_for_command(mask: set[int]) -> None:
    """Undo, in the process that becomes the command, what Python and `block` changed."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def supervise(init: Child, daemon: Child) -> int:
    """Pass signals on until `init` ends and return its status.

    Raises:
        Failure: the daemon of the filesystem ended first; `init` has been killed.
    """
    patience = _Patience()
    while True:
        received = patience.wait()
        if received is None:
            init.kill(signal.SIGKILL)
        elif received.si_signo != signal.SIGCHLD:
            _pass_on(received, init.pid)
        status = init.poll()
        if status is not None:
            return status
        if daemon.poll() is not None:
            init.kill(signal.SIGKILL)
            init.wait()
            end = in_words(daemon.wait())
            raise Failure(f"the daemon of the filesystem ended before the command: {end}")


def run_init(command_pid: int) -> int:
    """Reap everything and pass signals on until the command ends; returns its status.

    For the first process of a pid namespace, to which the kernel gives all orphans.
    """
    while True:
        received = signal.sigwaitinfo(_watched())
        if received.si_signo != signal.SIGCHLD:
            _pass_on(received, command_pid)
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == command_pid:
                return shell_status(status)
            if not pid:
                break


class _Patience:
    """Waits for signals; after one that asks to end, not for ever."""

    def __init__(self) -> None:
        self._deadline: float | None = None

    def wait(self) -> signal.struct_siginfo | None:
        """Return the next signal, or None when the time is up, once."""
        if self._deadline is None:
            received: signal.struct_siginfo | None = signal.sigwaitinfo(_watched())
        else:
            left = max(0.0, self._deadline - time.monotonic())
            received = signal.sigtimedwait(_watched(), left)
        if received is None:
            self._deadline = None
        elif received.si_signo in _ENDING and self._deadline is None:
            self._deadline = time.monotonic() + GRACE_S
        return received


def _watched() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _pass_on(received: signal.struct_siginfo, pid: int) -> None:
    # ^C went from the terminal to its whole foreground group, the command included.
    if received.si_code == _SI_KERNEL and received.si_signo in _FROM_TERMINAL:
        return
    os.kill(pid, received.si_signo)
