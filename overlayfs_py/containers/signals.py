"""Signals for a command in a container: which reach it, and how.

Two processes stand between the user and the command, the supervisor outside and init inside. Both
wait for signals instead of handling them, so nothing interrupts what they do in between.
"""

from __future__ import annotations

import os
import signal

from overlayfs_py.mounts.children import shell_status

_FORWARDED = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_STOPPING = (signal.SIGTSTP, signal.SIGCONT)
# As from a terminal: all that the command has started in its session's first group.
_FOR_THE_GROUP = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGQUIT: signal.SIGQUIT,
    # SIGTSTP does nothing to a group whose session has no shell (setpgid(2), "orphaned").
    signal.SIGTSTP: signal.SIGSTOP,
    signal.SIGCONT: signal.SIGCONT,
}
_ALWAYS = {signal.SIGCHLD, signal.SIGWINCH}


def block() -> set[int]:
    """Hold back the signals that `supervise` and `run_init` wait for; returns the mask before.

    What the caller ignores (nohup, a background job) stays ignored, for the command too.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    heeded = {
        number for number in (*_FORWARDED, *_STOPPING) if signal.getsignal(number) != signal.SIG_IGN
    }
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, heeded | _ALWAYS))


def restore_for_command(mask: set[int]) -> None:
    """Undo, in the process that becomes the command, what Python and `block` changed."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def run_init(command_pid: int) -> int:
    """Reap everything and pass signals on until the command ends; returns its status.

    For the first process of a pid namespace, to which the kernel gives all orphans.
    """
    while True:
        number = signal.sigwaitinfo(watched()).si_signo
        if number not in _ALWAYS:
            _pass_on(number, command_pid)
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == command_pid:
                return shell_status(status)
            if not pid:
                break


def watched() -> set[int]:
    """The signals that `block` holds back."""
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def _pass_on(number: int, command_pid: int) -> None:
    """Give the command a signal; what it has started with it, where a terminal would do so.

    It leads its session, which no terminal's signal from outside reaches.
    """
    instead = _FOR_THE_GROUP.get(signal.Signals(number))
    if instead is None:
        os.kill(command_pid, number)
        return
    try:
        os.killpg(command_pid, instead)
    except ProcessLookupError:  # it has not come so far
        os.kill(command_pid, instead)
