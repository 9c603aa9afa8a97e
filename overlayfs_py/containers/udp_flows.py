"""Datagrams that come to a published port: a socket in the container for each of their senders."""

from __future__ import annotations

import errno
import socket
import struct
import time
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers.event_loop import READABLE
from overlayfs_py.containers.network_namespace import ADDRESS, GATEWAY

if TYPE_CHECKING:
    from overlayfs_py.containers.event_loop import EventLoop

_LONGEST = 1 << 16
_AT_ONCE = 64
IDLE_S = 90.0  # docker-proxy's
MOST_FLOWS = 256  # the longest idle one goes first
# linux/in.h, linux/in6.h: which address of the host a datagram came to, and its answer comes from.
_PKTINFO = {socket.AF_INET: (socket.IPPROTO_IP, 8), socket.AF_INET6: (socket.IPPROTO_IPV6, 50)}
_INFO4 = struct.Struct("i4s4s")
_INFO6 = struct.Struct("16si")
_ANCILLARY_BYTES = socket.CMSG_SPACE(_INFO6.size) + socket.CMSG_SPACE(_INFO4.size)


class _Sender(NamedTuple):
    """Who a datagram is from, and the address that it was sent to."""

    address: tuple[object, ...]
    info: bytes  # as an answer's pktinfo


class _Flow:
    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.used_s = time.monotonic()


class UdpFlows:
    """A socket of the host with the flows that came from it, the longest idle first."""

    def __init__(
        self, loop: EventLoop, sock: socket.socket, port: int, idle_s: float = IDLE_S
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._port = port
        self._idle_s = idle_s
        self._level, self._kind = _PKTINFO[sock.family]
        self._flows: dict[_Sender, _Flow] = {}
        loop.watch(sock.fileno(), READABLE, self._receive)

    def _receive(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, address = self._sock.recvmsg(_LONGEST, _ANCILLARY_BYTES)
            except BlockingIOError:
                return
            except OSError:  # what an earlier answer met: its receiver has gone
                continue
            self._pass_on(_Sender(address, self._answers_info(ancillary)), data)

    def _answers_info(self, ancillary: list[tuple[int, int, bytes]]) -> bytes:
        for level, kind, value in ancillary:
            if (level, kind) != (self._level, self._kind):
                continue
            if self._sock.family == socket.AF_INET6:
                return value
            _, local, _ = _INFO4.unpack(value)
            return _INFO4.pack(0, local, bytes(4))
        return b""

    def _pass_on(self, sender: _Sender, data: bytes) -> None:
        try:
            flow = self._flow(sender)
            flow.sock.sendto(data, (ADDRESS, self._port))
        except OSError:  # full, or no server listens: a datagram may be lost
            return

    def _flow(self, sender: _Sender) -> _Flow:
        flow = self._flows.pop(sender, None)
        if flow is None:
            flow = self._open(sender)
        flow.used_s = time.monotonic()
        self._flows[sender] = flow  # the last of them now
        return flow

    def _open(self, sender: _Sender) -> _Flow:
        if len(self._flows) >= MOST_FLOWS:
            self._close(next(iter(self._flows)))
        flow = _Flow(self._socket())
        self._loop.watch(flow.sock.fileno(), READABLE, lambda: self._answer(sender, flow))
        if not self._flows:
            self._loop.call_later(self._idle_s, self._expire)
        return flow

    def _socket(self) -> socket.socket:
        try:
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not self._flows:
                raise
            self._close(next(iter(self._flows)))
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        # Not connected: a server that is bound to every address answers from another one, since the
        # kernel's choice for an answer to GATEWAY is GATEWAY.
        sock.bind((GATEWAY, 0))
        return sock

    def _answer(self, sender: _Sender, flow: _Flow) -> None:
        ancillary = [(self._level, self._kind, sender.info)] if sender.info else []
        try:
            data, (_, port) = flow.sock.recvfrom(_LONGEST)
            if port != self._port:
                return
            self._sock.sendmsg([data], ancillary, 0, sender.address)
        except OSError:  # nobody listens at one end or the other: the datagram is lost
            return
        if self._flows.get(sender) is flow:
            self._flow(sender)

    def _expire(self) -> None:
        now_s = time.monotonic()
        for sender, flow in list(self._flows.items()):
            if flow.used_s + self._idle_s > now_s:
                self._loop.call_later(flow.used_s + self._idle_s - now_s, self._expire)
                return
            self._close(sender)

    def _close(self, sender: _Sender) -> None:
        flow = self._flows.pop(sender)
        self._loop.forget(flow.sock.fileno())
        flow.sock.close()
