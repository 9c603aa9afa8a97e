"""SIGTERM and SIGHUP end a command as ^C does: what it has half done is taken back first."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_ENDING = (signal.SIGTERM, signal.SIGHUP)


class Interruption:
    """Turns them into KeyboardInterrupt, which trio and we know how to let through.

    Once: what is taken back is not interrupted by the next. A process that was forked since dies of
    them, as it would have; who serves a mount has handlers of its own.
    """

    def __init__(self) -> None:
        self.number = signal.SIGINT  # what has ended the command, if anything has
        self._pid = os.getpid()
        for number in _ENDING:
            if signal.getsignal(number) == signal.SIG_DFL:  # and not ignored, as by nohup(1)
                signal.signal(number, self._heed)

    def _heed(self, number: int, _: FrameType | None) -> None:
        if os.getpid() != self._pid:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        for each in _ENDING:
            signal.signal(each, signal.SIG_IGN)
        self.number = signal.Signals(number)
        if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):
            raise KeyboardInterrupt
        # By way of its handler: trio's waits until no task is in the middle of something.
        signal.raise_signal(signal.SIGINT)
