"""A user's terminal, or pipes, attached to a container: the other end of its monitor's door."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.containers import detach_keys, signals
from overlayfs_py.containers.event_loop import READABLE, WRITABLE, EventLoop
from overlayfs_py.containers.frames import (
    Frame,
    FrameReader,
    Kind,
    number_frame,
    number_in,
    size_frame,
)
from overlayfs_py.syscalls import signal_fds

if TYPE_CHECKING:
    import socket

    from overlayfs_py.containers.users_terminal import UsersTerminal

_CHUNK_BYTES = 1 << 15
_OUTPUTS = {Kind.STDOUT: 1, Kind.STDERR: 2}
_UNREAD = 128 + signal.SIGPIPE


class Attachment:
    """Copies until the container ends, or the user detaches."""

    def __init__(
        self,
        sock: socket.socket,
        terminal: UsersTerminal | None,
        *,
        stdin: bool,
        shown: frozenset[int] = frozenset({1, 2}),
        passes_signals: bool = True,
        keys: bytes = detach_keys.DEFAULT,
    ) -> None:
        self._sock = sock
        self._terminal = terminal
        self._shown = shown  # 1 and 2: which of its outputs
        self._passes_signals = passes_signals
        self._loop = EventLoop()
        self._reader = FrameReader()
        self._out = bytearray()
        self._keys = detach_keys.Watch(keys)
        self._status: int | None = None
        self._is_over = False
        self.has_detached = False
        self._stdin = 0 if stdin else None
        sock.setblocking(False)

    def run(self) -> int | None:
        """Return the command's exit status; None if the user detached, or the monitor was killed.

        Signals that `signals.block` holds back are passed on.
        """
        signal_fd = signal_fds.open_signal_fd(signals.watched())
        try:
            self._loop.watch(signal_fd, READABLE, lambda: self._heed_signals(signal_fd))
            if self._terminal is not None:
                if self._stdin is not None:  # without -i ^C is for this process, which passes it on
                    self._terminal.enter_raw()
                self._tell_size()
            self._watch()
            self._loop.run_until(lambda: self._is_over)
        finally:
            if self._terminal is not None:
                self._terminal.restore()
            os.close(signal_fd)
            self._sock.close()
        return self._status

    def _watch(self) -> None:
        self._loop.watch(self._sock.fileno(), READABLE | (WRITABLE if self._out else 0), self._step)
        if self._stdin is None:
            return
        # What the container does not take is left where it is.
        if self._out:
            self._loop.forget(self._stdin)
            return
        try:
            self._loop.watch(self._stdin, READABLE, self._read_stdin)
        except PermissionError:  # a kind of file that poll(2) takes for always ready
            self._loop.call_later(0, self._read_stdin)

    def _send(self, frame: Frame) -> None:
        self._out += frame.encode()
        self._flush()

    def _flush(self) -> None:
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._is_over = True
            return
        self._watch()

    def _step(self) -> None:
        if self._out:
            self._flush()
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._is_over = True
            return
        for frame in self._reader.feed(data):
            self._heed(frame)

    def _heed(self, frame: Frame) -> None:
        if frame.kind in _OUTPUTS:
            if _OUTPUTS[frame.kind] in self._shown:
                self._show(_OUTPUTS[frame.kind], frame.body)
        elif frame.kind is Kind.ENDED:
            self._status = number_in(frame)
            self._is_over = True

    def _show(self, fd: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:  # the user's file is another program's, too
                signal.sigtimedwait([], 0.01)
            except OSError:
                self._status = _UNREAD
                self._is_over = True
                return

    def _read_stdin(self) -> None:
        assert self._stdin is not None
        try:
            data = os.read(self._stdin, _CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # the terminal has hung up
            data = b""
        if self._terminal is not None:
            is_end = not data
            data, self.has_detached = self._keys.passed(data)
            if self.has_detached:
                if data:
                    self._send(Frame(Kind.STDIN, data))
                self._is_over = True
                return
            if not data and not is_end:
                return  # the first of the keys
        if not data:
            self._loop.forget(self._stdin)
            self._stdin = None
        self._send(Frame(Kind.STDIN, data))

    def _heed_signals(self, fd: int) -> None:
        while (received := signal_fds.read_signal(fd)) is not None:
            if received.number == signal.SIGWINCH:
                self._tell_size()
            elif received.number != signal.SIGCHLD and self._passes_signals:
                self._send(number_frame(Kind.SIGNAL, received.number))

    def _tell_size(self) -> None:
        for number in (1, 2, 0):
            with suppress(OSError):
                size = os.get_terminal_size(number)
                self._send(size_frame(size.lines, size.columns))
                return
