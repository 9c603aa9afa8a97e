"""One client of the template, what it has said, and the command that it has."""

from __future__ import annotations

import os
import socket
import sys
import time
from enum import Enum
from typing import TYPE_CHECKING

from overlayfs_py.warm import client
from overlayfs_py.warm.circumstances import Unlike

if TYPE_CHECKING:
    from overlayfs_py.warm.circumstances import Process

_LONGEST_MESSAGE = 8 << 20  # more than execve(2) takes
_HEADER = 4  # its length
_CHUNK = 1 << 16
_ANCILLARY = 256
_STREAMS = 3
_PATIENCE_S = 10.0  # with a client that says nothing


class Stage(Enum):
    """What it says next."""

    PROPOSING = "proposing"
    ORDERING = "ordering"
    RUNNING = "running"


class Connection:
    """One client, and the command that it has."""

    def __init__(self, sock: socket.socket, pid: int) -> None:
        self.sock = sock
        self.pid = pid
        self.stage = Stage.PROPOSING
        self.deadline = time.monotonic() + _PATIENCE_S
        self.process: Process | None = None
        self.pidfd: int | None = None
        # What an answer has in it that was sent while `pidfd` was open: it is of that very process,
        # and not of an earlier one of the same number.
        self.word = os.urandom(client.WORD_BYTES)
        self.umask = 0
        self.directory: int | None = None
        self.received = b""
        self.streams: list[int] = []
        self.command: int | None = None  # its pid, until it has been waited for

    def message(self) -> bytes | None:
        """What it has said, None where more is to come.

        All of it must come from the process that has connected, as far as its number says.

        Raises:
            Lost: it has gone.
            Unlike: another process speaks for it, or too much.
        """
        try:
            data, ancillary, _, _ = self.sock.recvmsg(_CHUNK, _ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        senders = []
        for level, kind, carried in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self.streams += [
                    int.from_bytes(carried[at : at + 4], sys.byteorder)
                    for at in range(0, len(carried) - 3, 4)
                ]
            elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                senders.append(client.credentials(carried)[0])
        if not data:
            raise client.Lost
        if senders != [self.pid]:
            raise Unlike("sender")
        if len(self.streams) > _STREAMS:
            raise Unlike("number of streams")
        self.received += data
        if len(self.received) < _HEADER:
            return None
        size = int.from_bytes(self.received[:_HEADER], "big") + _HEADER
        if not _HEADER < size <= _LONGEST_MESSAGE:
            raise Unlike("size of the message")
        if len(self.received) < size:
            return None
        message, self.received = self.received[_HEADER:size], self.received[size:]
        return message

    def begun(self, command: int) -> None:
        """Remember its command; nothing else of it matters any more."""
        self.command = command
        self.stage = Stage.RUNNING
        self._close_all()

    def close(self) -> None:
        """Let go of it."""
        self.sock.close()
        self._close_all()

    def _close_all(self) -> None:
        if self.process is not None:
            self.process.close()
        for fd in (self.pidfd, self.directory, *self.streams):
            if fd is not None:
                os.close(fd)
        self.process = self.pidfd = self.directory = None
        self.streams = []
