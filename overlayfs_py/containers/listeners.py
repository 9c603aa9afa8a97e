"""The host's side of published ports: sockets that are bound before the container starts.

A port is never tried and let go: the socket that has it is the one that clients are accepted from.
The kernel chooses where none is named.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.store.containers import PublishedPort

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
_BACKLOG = 4096
_EVERY_ADDRESS = ("0.0.0.0", "::")  # docker's meaning, where none is named
_MOST_TRIES = 20  # of ports that the kernel chose for IPv4 and IPv6 has in use; a guess
# Where the machine has no IPv6.
_NO_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
# linux/in.h, linux/in6.h: a datagram tells which address it came to, and is answered from there.
_IP_PKTINFO = 8
_IPV6_RECVPKTINFO = 49


class _Taken(Failure):
    """A port that another socket has."""


class Listener(NamedTuple):
    """A socket that has a port of the host."""

    sock: socket.socket
    protocol: str
    container_port: int

    @property
    def text(self) -> str:
        """As `ps` shows it: 0.0.0.0:8080->80/tcp."""
        address, port = self.sock.getsockname()[:2]
        shown = _shown(address, port)
        return f"{shown}->{self.container_port}/{self.protocol}"


def bind_all(ports: Iterable[PublishedPort]) -> list[Listener]:
    """Bind what is to be published.

    Raises:
        Failure: a port is in use, or may not be used; none is bound then.
    """
    found: list[Listener] = []
    try:
        for port in ports:
            found += _bind(port)
    except BaseException:
        close_all(found)
        raise
    return found


def close_all(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        listener.sock.close()


def _bind(port: PublishedPort) -> list[Listener]:
    """Bind the one port, or the first of its range that is free, at each of its addresses."""
    if port.host_port:
        *others, last = range(port.host_port, max(port.host_port, port.host_port_last) + 1)
    else:
        *others, last = [0] * _MOST_TRIES
    for number in others:
        try:
            return _bind_number(port, number)
        except _Taken:
            continue
    return _bind_number(port, last)


def _bind_number(port: PublishedPort, number: int) -> list[Listener]:
    bound: list[Listener] = []
    try:
        for address in (port.host_ip,) if port.host_ip else _EVERY_ADDRESS:
            try:
                sock = _bind_socket(address, number, port.protocol)
            except OSError as error:
                if bound and error.errno in _NO_FAMILY:
                    continue
                name = f"port {_shown(address, number)}/{port.protocol}"
                kind = _Taken if error.errno == errno.EADDRINUSE else Failure
                raise kind(f"{name}: {error.strerror}") from error
            bound.append(Listener(sock, port.protocol, port.container_port))
            number = sock.getsockname()[1]
    except BaseException:
        close_all(bound)
        raise
    return bound


def _bind_socket(address: str, number: int, protocol: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, _KINDS[protocol])
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            # Connections of a container that has ended linger in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setblocking(False)
        sock.bind((address, number))
        if protocol == "tcp":
            sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
