"""A connection that came to a published port, and the one that it leads to."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from overlayfs_py.containers.event_loop import READABLE, WRITABLE
from overlayfs_py.containers.network_namespace import ADDRESS, GATEWAY

if TYPE_CHECKING:
    from overlayfs_py.containers.event_loop import EventLoop

_CHUNK_BYTES = 1 << 16
_MOST_BYTES = 1 << 18  # that wait for a slow reader before its peer has to
_IDLE_S = 60  # before the kernel asks a silent client's machine whether it is still there
_RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: closing tells the other side of an error
_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h


class _End:
    """One of the two sockets, and what is still to be written to it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.out = bytearray()
        self.has_ended = False  # nothing more comes from it
        self.is_shut = False  # nothing more goes to it
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes = b"") -> None:
        """Write, as far as it takes it."""
        if self.out or not data:
            self.out += data
            while self.out:
                del self.out[: self.sock.send(self.out)]
        else:
            self.out += data
            del self.out[: self.sock.send(data)]

    def events(self, peer: _End) -> int:
        reads = not self.has_ended and len(peer.out) < _MOST_BYTES
        return (READABLE if reads else 0) | (WRITABLE if self.out else 0)


class TcpConnection:
    """Both, until both directions have ended, or one of them has failed."""

    def __init__(self, loop: EventLoop, client: socket.socket, port: int) -> None:
        """Own `client`, unless that raises an error.

        Raises:
            OSError: there is no descriptor left.
        """
        self._loop = loop
        inner = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._client, self._inner = _End(client), _End(inner)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_S)
        # Ports are not used up by connections to different ports.
        inner.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        inner.bind((GATEWAY, 0))
        if inner.connect_ex((ADDRESS, port)) in (0, errno.EINPROGRESS):
            loop.watch(inner.fileno(), WRITABLE, self._connected)
        else:
            self._reset()

    def _connected(self) -> None:
        if self._inner.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._reset()  # no server listens: as the kernel itself would say it
        else:
            self._adjust()

    def _step(self, end: _End, peer: _End) -> None:
        try:
            if end.out:
                self._flush(end)
            if end.events(peer) & READABLE:
                self._read(end, peer)
            self._shut(end, peer)
            self._shut(peer, end)
        except OSError:  # one has gone, and so has the other
            self._reset()
            return
        self._adjust()

    def _flush(self, end: _End) -> None:
        try:
            end.send()
        except BlockingIOError:
            return

    def _read(self, end: _End, peer: _End) -> None:
        try:
            data = end.sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            end.has_ended = True
            return
        try:
            peer.send(data)
        except BlockingIOError:
            return

    def _shut(self, end: _End, peer: _End) -> None:
        """Pass the end of one direction on, when all before it has been."""
        if peer.has_ended and not end.out and not end.is_shut:
            end.sock.shutdown(socket.SHUT_WR)
            end.is_shut = True

    def _adjust(self) -> None:
        if self._client.is_shut and self._inner.is_shut:
            self._close()
            return
        for end, peer in ((self._client, self._inner), (self._inner, self._client)):
            fd, events = end.sock.fileno(), end.events(peer)
            if events:
                self._loop.watch(fd, events, lambda end=end, peer=peer: self._step(end, peer))  # type: ignore[misc]
            else:
                # Not even its end: poll(2) would tell of that again and again.
                self._loop.forget(fd)

    def _reset(self) -> None:
        for end in (self._client, self._inner):
            end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def _close(self) -> None:
        for end in (self._client, self._inner):
            self._loop.forget(end.sock.fileno())
            end.sock.close()
