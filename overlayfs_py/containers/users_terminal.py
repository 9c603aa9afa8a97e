"""The user's terminal: which descriptors it is, and its state while a container is shown there."""

from __future__ import annotations

import os
import termios
from contextlib import suppress
from typing import Any

from overlayfs_py.syscalls import terminals

_STDIN = 0
# The places in what tcgetattr(3) returns.
_INPUT, _OUTPUT, _CONTROL, _LOCAL, _CHARACTERS = 0, 1, 2, 3, 6
_STDIO = (0, 1, 2)
# Output first: the terminal that it goes to.
_SHOWING = (1, 2, 0)
_COOKED = termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN


class UsersTerminal:
    """It is in its raw state only while this process has the foreground.

    Where stdin is no terminal, its state is left alone: what is typed is for somebody else.
    """

    def __init__(self, numbers: tuple[int, ...], output: int) -> None:
        self.numbers = numbers  # of stdin, stdout, stderr: those that the container's stands for
        self.output = output  # never waits
        self.input = os.dup(_STDIN) if _STDIN in numbers else None
        self._state = _state_of(_STDIN) if _STDIN in numbers else None

    @classmethod
    def find(cls, *, always: bool) -> UsersTerminal | None:
        """Return it, None where none of stdin, stdout and stderr is one.

        With `always` all three are taken for one: what is read from a pipe is typed.
        """
        found = tuple(number for number in _STDIO if always or os.isatty(number))
        if not found:
            return None
        shown = next(number for number in _SHOWING if number in found)
        return cls(found, _reopened(shown))

    def enter_raw(self) -> None:
        """Pass each key on as it is pressed, ^C too, and show what comes as it is."""
        if self._state is not None and self.has_foreground():
            termios.tcsetattr(_STDIN, termios.TCSADRAIN, _raw(self._state))

    def restore(self) -> None:
        """Put the state back, unless somebody else has set another one since."""
        if self._state is not None and self.input is not None:
            with suppress(termios.error):  # it has hung up
                if _is_raw(termios.tcgetattr(self.input)):
                    termios.tcsetattr(self.input, termios.TCSANOW, self._state)

    @property
    def needed_fds(self) -> frozenset[int]:
        """The descriptors that it is reached by."""
        return frozenset({self.output} if self.input is None else {self.output, self.input})

    def __call__(self) -> None:
        self.restore()

    def has_foreground(self) -> bool:
        """Whether this process may read what is typed, and is not stopped for it."""
        try:
            return os.tcgetpgrp(_STDIN) == os.getpgrp()
        except OSError:  # not the terminal of our session: then the kernel lets everybody
            return True

    def give_size(self, fd: int) -> None:
        """Let another terminal be as large."""
        for number in _SHOWING:
            if os.isatty(number):
                terminals.copy_size(number, fd)
                break


def _reopened(number: int) -> int:
    """A descriptor of the same terminal that does not wait: of our own, unlike the user's."""
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{number}", flags)
    except OSError:  # of another user, who has become this one with su(1)
        return os.dup(number)


def _state_of(fd: int) -> list[Any] | None:
    return termios.tcgetattr(fd) if os.isatty(fd) else None


def _raw(state: list[Any]) -> list[Any]:
    """As cfmakeraw(3)."""
    made = [*state[:_CHARACTERS], list(state[_CHARACTERS])]
    made[_INPUT] &= ~(
        termios.IGNBRK
        | termios.BRKINT
        | termios.PARMRK
        | termios.ISTRIP
        | termios.INLCR
        | termios.IGNCR
        | termios.ICRNL
        | termios.IXON
    )
    made[_OUTPUT] &= ~termios.OPOST
    made[_CONTROL] = made[_CONTROL] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
    made[_LOCAL] &= ~_COOKED
    made[_CHARACTERS][termios.VMIN], made[_CHARACTERS][termios.VTIME] = 1, 0
    return made


def _is_raw(state: list[Any]) -> bool:
    return not state[_LOCAL] & _COOKED and not state[_OUTPUT] & termios.OPOST
