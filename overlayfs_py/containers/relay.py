"""What is typed goes to a container's terminal, what that shows to the user's.

Neither side is waited for: a command that does not read, or a terminal that was stopped with ^S,
holds up no signal.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.containers.users_terminal import UsersTerminal

_CHUNK_BYTES = 16384
# The kernel says that there is room for some bytes, not for how many; what does not fit in a
# terminal that waits (`UsersTerminal.output`) holds up the caller.
_END_OF_INPUT = b"\x04"  # ^D, at the beginning of a line
_READABLE = select.POLLIN | select.POLLHUP | select.POLLERR
_WRITABLE = select.POLLOUT | select.POLLHUP | select.POLLERR


class Relay:
    """Copies between the user's terminal and the master of a container's."""

    def __init__(self, terminal: UsersTerminal, master: int) -> None:
        self._terminal = terminal
        self._master = master
        self._input = terminal.input
        self._typed = b""  # for the container
        self._shown = b""  # by the container
        self._is_over = False  # the container's terminal has no user left
        os.set_blocking(master, False)
        terminal.give_size(master)
        terminal.enter_raw()

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._terminal.restore()
        os.close(self._master)

    def resize(self) -> None:
        """The user's terminal has another size now."""
        self._terminal.give_size(self._master)

    def pause(self) -> None:
        """Leave the terminal to others, until `go_on`."""
        self._terminal.restore()

    def go_on(self) -> None:
        """Take the terminal again, if this process has come to the foreground."""
        self._terminal.enter_raw()
        self.resize()

    def interests(self) -> dict[int, int]:
        """What to poll for."""
        found: dict[int, int] = {}
        if not self._is_over:
            wanted = select.POLLOUT if self._typed else 0
            wanted |= 0 if self._shown else select.POLLIN
            if wanted:  # poll(2) would tell again and again that the other end has gone
                found[self._master] = wanted
        if self._input is not None and not self._typed and self._may_read():
            found[self._input] = select.POLLIN
        if self._shown:
            found[self._terminal.output] = select.POLLOUT
        return found

    def step(self, ready: Mapping[int, int]) -> None:
        """Do what poll(2) says is possible."""
        if self._input is not None and ready.get(self._input, 0) & _READABLE:
            self._read_typed()
        if not self._is_over and ready.get(self._master, 0) & _READABLE and not self._shown:
            self._read_shown()
        if self._typed and not self._is_over:
            with suppress(BlockingIOError):
                self._typed = self._typed[os.write(self._master, self._typed) :]
        if self._shown and ready.get(self._terminal.output, 0) & _WRITABLE:
            self._show()

    @property
    def is_done(self) -> bool:
        """Whether all has been shown that the container's terminal ever will."""
        return self._is_over and not self._shown

    def _may_read(self) -> bool:
        return not os.isatty(0) or self._terminal.has_foreground()

    def _read_typed(self) -> None:
        assert self._input is not None
        try:
            self._typed = os.read(self._input, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # it has hung up
            self._input = None
            return
        if not self._typed:
            self._input = None
            self._typed = _END_OF_INPUT

    def _read_shown(self) -> None:
        try:
            self._shown = os.read(self._master, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: nobody has the other end open
            self._is_over = True

    def _show(self) -> None:
        try:
            self._shown = self._shown[os.write(self._terminal.output, self._shown) :]
        except BlockingIOError:
            return
        except OSError:  # it has hung up: a signal says so
            self._shown = b""
