"""What the supervisor of a container does until its command ends: signals, terminal, patience."""

from __future__ import annotations

import os
import select
import signal
import time
from typing import TYPE_CHECKING

from overlayfs_py.containers import signals
from overlayfs_py.errors import Failure
from overlayfs_py.mounts.children import in_words
from overlayfs_py.syscalls import signal_fds

if TYPE_CHECKING:
    from overlayfs_py.containers.relay import Relay
    from overlayfs_py.mounts.children import Child

_ENDING = frozenset({signal.SIGTERM, signal.SIGHUP})
# How long a command may take to end after one of these before it is killed.
GRACE_S = 10.0
_LAST_OUTPUT_S = 1.0  # a guess: a terminal that shows anything shows it by then


def supervise(init: Child, daemon: Child, relay: Relay | None) -> int:
    """Pass on signals and what is typed until `init` ends; returns its status.

    To be called after `signals.block`.

    Raises:
        Failure: the daemon of the filesystem ended first; `init` has been killed.
    """
    fd = signal_fds.open_signal_fd(signals.watched())
    try:
        return _Supervision(fd, init, daemon, relay).run()
    finally:
        os.close(fd)


class _Supervision:
    def __init__(self, signal_fd: int, init: Child, daemon: Child, relay: Relay | None) -> None:
        self._signal_fd = signal_fd
        self._init = init
        self._daemon = daemon
        self._relay = relay
        self._deadline: float | None = None
        self._was_told = False  # to end

    def run(self) -> int:
        while (status := self._init.poll()) is None:
            if self._daemon.poll() is not None:
                self._give_up()
            ready = self._poll()
            if self._relay is not None:
                self._relay.step(ready)
            while (received := signal_fds.read_signal(self._signal_fd)) is not None:
                self._heed(signal.Signals(received.number))
            self._lose_patience()
        self._show_the_rest()
        return status

    def _poll(self) -> dict[int, int]:
        poller = select.poll()
        interests = {} if self._relay is None else self._relay.interests()
        for fd, events in {**interests, self._signal_fd: select.POLLIN}.items():
            poller.register(fd, events)
        left = None if self._deadline is None else max(0.0, self._deadline - time.monotonic())
        return dict(poller.poll(None if left is None else left * 1000))

    def _heed(self, number: signal.Signals) -> None:
        if number == signal.SIGCHLD:
            return
        if number == signal.SIGWINCH:
            if self._relay is not None:
                self._relay.resize()
            return
        self._init.kill(number)
        if number == signal.SIGTSTP:
            self._pause()
        elif number == signal.SIGCONT and self._relay is not None:
            self._relay.go_on()
        elif number in _ENDING and self._deadline is None:
            self._was_told = True
            self._deadline = time.monotonic() + GRACE_S

    def _pause(self) -> None:
        if self._relay is not None:
            self._relay.pause()
        os.kill(os.getpid(), signal.SIGSTOP)

    def _lose_patience(self) -> None:
        if self._deadline is not None and time.monotonic() >= self._deadline:
            self._deadline = None
            self._init.kill(signal.SIGKILL)

    def _give_up(self) -> None:
        self._init.kill(signal.SIGKILL)
        self._init.wait()
        self._show_the_rest()
        end = in_words(self._daemon.wait())
        raise Failure(f"the daemon of the filesystem ended before the command: {end}")

    def _show_the_rest(self) -> None:
        """Show what the command wrote last, unless a signal comes first.

        One that was told to end has its terminal stopped, maybe: that is not waited for long.
        """
        if self._was_told:
            self._deadline = time.monotonic() + _LAST_OUTPUT_S
        while self._relay is not None and not self._relay.is_done:
            ready = self._poll()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return
            self._relay.step(ready)
            if self._signal_fd in ready and self._is_told_to_end():
                return

    def _is_told_to_end(self) -> bool:
        received = signal_fds.read_signal(self._signal_fd)
        return received is not None and received.number not in (signal.SIGCHLD, signal.SIGWINCH)
