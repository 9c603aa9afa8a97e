"""What goes into a container's command and what comes out of it: to its log, and to its clients.

Nothing is lost where a client is slow: the command waits then, as it would for a terminal. A log
that cannot be written (a full disk) is given up with a warning; the command goes on.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.containers.event_loop import READABLE, WRITABLE
from overlayfs_py.containers.frames import Kind
from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from overlayfs_py.containers.event_loop import EventLoop
    from overlayfs_py.containers.output_log import LogWriter

_CHUNK_BYTES = 1 << 16
_NAMES = {Kind.STDOUT: "stdout", Kind.STDERR: "stderr"}

log = logging.getLogger(__name__)


class Listener(Protocol):
    """Somebody who is told what a command writes."""

    def show(self, kind: Kind, data: bytes) -> None:
        """Take output; it may be kept until there is room for it."""

    @property
    def is_behind(self) -> bool:
        """Whether it has so much to take that the command is to wait."""


class Ends(NamedTuple):
    """The monitor's ends of a command's stdin, stdout and stderr; of a terminal all are one."""

    outputs: dict[int, Kind]
    stdin: int | None  # None: nothing goes in


class Streams:
    """The streams of one run of a command. Owns the descriptors."""

    def __init__(self, loop: EventLoop, ends: Ends, writer: LogWriter | None) -> None:
        self.listeners: list[Listener] = []
        self._loop = loop
        self._outputs = dict(ends.outputs)
        self._stdin = ends.stdin
        self._writer = writer
        self._typed = b""  # not taken by the command yet
        self._ends_after_typed = False
        for fd in {*self._outputs, *(() if self._stdin is None else (self._stdin,))}:
            os.set_blocking(fd, False)
        self.adjust()

    @property
    def is_over(self) -> bool:
        """Whether the command, and all that it started, have closed their output."""
        return not self._outputs

    @property
    def wants_input(self) -> bool:
        """Whether the command takes as fast as it is given."""
        return self._stdin is not None and not self._typed

    def adjust(self) -> None:
        """Read from the command if every listener keeps up; to be called when that changes."""
        events = 0 if any(listener.is_behind for listener in self.listeners) else READABLE
        for fd in self._outputs:
            wanted = events | (WRITABLE if fd == self._stdin and self._typed else 0)
            if wanted:
                self._loop.watch(fd, wanted, lambda fd=fd: self._step(fd))  # type: ignore[misc]
            else:
                self._loop.forget(fd)
        if self._stdin is not None and self._stdin not in self._outputs:
            if self._typed:
                self._loop.watch(self._stdin, WRITABLE, self._write)
            else:
                self._loop.forget(self._stdin)

    def type(self, data: bytes) -> None:
        """Give the command input; no bytes at all are its end."""
        if self._stdin is None:
            return
        if data:
            self._typed += data
        else:
            self._ends_after_typed = True
        self._write()

    def close(self) -> None:
        """Let go of everything; the log is complete then."""
        for fd in list(self._outputs):
            self._end(fd)
        self._close_stdin()
        if self._writer is not None:
            writer, self._writer = self._writer, None
            with suppress(OSError):  # said before, when the disk was full
                writer.close()

    def _step(self, fd: int) -> None:
        if fd == self._stdin and self._typed:
            self._write()
        try:
            data = os.read(fd, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # EIO: a terminal that no process has open
            data = b""
        if not data:
            self._end(fd)
            return
        kind = self._outputs[fd]
        self._log(kind, data)
        for listener in list(self.listeners):
            listener.show(kind, data)
        self.adjust()

    def _log(self, kind: Kind, data: bytes) -> None:
        if self._writer is None:
            return
        try:
            self._writer.write(_NAMES[kind], data)
        except OSError as error:
            log.warning("the container's output is not kept any more: %s", error.strerror)
            self._writer = None

    def _write(self) -> None:
        if self._stdin is None:
            return
        try:
            self._typed = self._typed[os.write(self._stdin, self._typed) :]
        except BlockingIOError:
            pass
        except OSError:  # nobody reads any more
            self._typed = b""
            self._close_stdin()
        if not self._typed and self._ends_after_typed:
            self._close_stdin()
        self.adjust()

    def _close_stdin(self) -> None:
        """Close it; a terminal's stays, since its output comes from there."""
        fd, self._stdin = self._stdin, None
        if fd is not None and fd not in self._outputs:
            self._loop.forget(fd)
            os.close(fd)

    def _end(self, fd: int) -> None:
        self._loop.forget(fd)
        del self._outputs[fd]
        if fd == self._stdin:
            self._stdin = None
        os.close(fd)
