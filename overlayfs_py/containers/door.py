"""The monitor's side of its control socket: who comes in, what they ask, what they are sent."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.containers.event_loop import READABLE, WRITABLE
from overlayfs_py.containers.frames import BadFrame, Frame, FrameReader, Kind
from overlayfs_py.errors import describe

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.containers.event_loop import EventLoop

FILE = "control"
_CHUNK_BYTES = 1 << 16
_BEHIND_BYTES = 1 << 18  # what a client may have to read before the command waits for it


class Host(Protocol):
    """The one behind the door."""

    def ask(self, client: Client, request: dict[str, object]) -> dict[str, object] | None:
        """Do what a client asks; None: the answer comes later. An OSError is the answer, too."""

    def take(self, client: Client, frame: Frame) -> None:
        """Take what an attached client sends."""

    def gone(self, client: Client) -> None:
        """A client has left."""

    def caught_up(self) -> None:
        """A client was behind and is not any more."""


class Client:
    """One connection."""

    def __init__(self, loop: EventLoop, sock: socket.socket, host: Host) -> None:
        self.has_asked = False
        self._loop = loop
        self._sock = sock
        self._host = host
        self._reader = FrameReader()
        self._out = bytearray()
        self._closes_when_sent = False
        sock.setblocking(False)
        self._watch()

    @property
    def is_behind(self) -> bool:
        return len(self._out) > _BEHIND_BYTES

    @property
    def is_closed(self) -> bool:
        return self._sock.fileno() < 0

    @property
    def has_all(self) -> bool:
        """Whether everything has been sent."""
        return not self._out

    def show(self, kind: Kind, data: bytes) -> None:
        self.send(Frame(kind, data))

    def answer(self, answer: dict[str, object]) -> None:
        """Answer the request."""
        self.send(Frame(Kind.ANSWER, json.dumps(answer).encode()))

    def send(self, frame: Frame) -> None:
        if self._sock.fileno() >= 0:
            self._out += frame.encode()
            self._flush()

    def finish(self) -> None:
        """Close it once all has been sent."""
        self._closes_when_sent = True
        self._flush()

    def close(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._out.clear()
            self._host.gone(self)

    def _watch(self) -> None:
        events = READABLE | (WRITABLE if self._out else 0)
        self._loop.watch(self._sock.fileno(), events, self._step)

    def _step(self) -> None:
        if self._out:
            self._flush()
        if self._sock.fileno() < 0:
            return
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:  # it was killed
            data = b""
        if not data:
            self.close()
            return
        try:
            for frame in self._reader.feed(data):
                self._heed(frame)
        except BadFrame:
            self.close()

    def _heed(self, frame: Frame) -> None:
        if self.has_asked:
            self._host.take(self, frame)
            return
        if frame.kind is not Kind.REQUEST:
            raise BadFrame("no request")
        self.has_asked = True
        try:
            request = json.loads(frame.body)
            answer = self._host.ask(self, request if isinstance(request, dict) else {})
        except (ValueError, TypeError, KeyError) as error:
            answer = {"error": f"malformed request: {error}"}
        except OSError as error:
            answer = {"error": describe(error)}
        if answer is not None:
            self.answer(answer)

    def _flush(self) -> None:
        was_behind = self.is_behind
        try:
            while self._out:
                del self._out[: self._sock.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:  # it has gone
            self.close()
            return
        if was_behind and not self.is_behind:
            self._host.caught_up()
        if self._out or not self._closes_when_sent:
            self._watch()
        else:
            self.close()


class Door:
    """The listening socket in a container's directory."""

    def __init__(self, loop: EventLoop, directory: Path, host: Host) -> None:
        self._loop = loop
        self._host = host
        self._directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        (directory / FILE).unlink(missing_ok=True)
        self._sock.bind(_short(self._directory_fd))
        self._sock.listen(64)
        self._sock.setblocking(False)
        loop.watch(self._sock.fileno(), READABLE, self._accept)

    def close(self) -> None:
        """Let nobody in any more."""
        self._loop.forget(self._sock.fileno())
        self._sock.close()
        os.unlink(FILE, dir_fd=self._directory_fd)
        os.close(self._directory_fd)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:  # it has gone already, or there is no descriptor left for it
            return
        Client(self._loop, sock, self._host)


def connect(directory: Path) -> socket.socket:
    """Connect to the monitor of the container in `directory`.

    Raises:
        OSError: FileNotFoundError or ConnectionRefusedError where none runs.
    """
    directory_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.connect(_short(directory_fd))
        except OSError:
            sock.close()
            raise
        return sock
    finally:
        os.close(directory_fd)


def _short(directory_fd: int) -> str:
    # sun_path holds 108 bytes, a store's path may be longer.
    return f"/proc/self/fd/{directory_fd}/{FILE}"
