"""The process that passes on what comes to a container's published ports.

It is a child of the container's monitor, has nothing open but its sockets, and no capability. Its
listening sockets are the host's, made before it entered the container's network namespace: a socket
belongs to the namespace that it was made in, and one that was accepted to its listener's
(net_namespaces(7)). So one process holds both ends of every connection.
"""

from __future__ import annotations

import os
import resource
import signal
from typing import TYPE_CHECKING

from overlayfs_py.containers.event_loop import READABLE, EventLoop
from overlayfs_py.containers.tcp_connection import TcpConnection
from overlayfs_py.containers.udp_flows import UdpFlows
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import capabilities, namespaces

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.containers.listeners import Listener
    from overlayfs_py.mounts.children import Child, Report

_AT_ONCE = 64  # connections that are accepted before others are looked at
_REST_S = 0.1  # where there is no descriptor left


def start(listeners: Sequence[Listener], namespace_fd: int, lock_fd: int) -> Child:
    """Fork a forwarder; it ends with this process, and holds the container's lock until then.

    Raises:
        Failure: it cannot enter the namespace.
    """
    monitor_fd = os.pidfd_open(os.getpid())

    def work(report: Report) -> None:
        children.die_with(monitor_fd, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.chdir("/")
        children.take_null_stdio()
        assert report.fd is not None
        sockets = [listener.sock.fileno() for listener in listeners]
        children.close_all_but(report.fd, namespace_fd, lock_fd, *sockets)
        namespaces.setns(namespace_fd, namespaces.CLONE_NEWNET)
        os.close(namespace_fd)
        # The kernel forgets the parent-death signal where ids change, not where these do.
        capabilities.keep_only(frozenset())
        _raise_limit()
        loop = EventLoop()
        for listener in listeners:
            if listener.protocol == "udp":
                UdpFlows(loop, listener.sock, listener.container_port)
            else:
                TcpDoor(loop, listener)
        report.ready()
        loop.run_until(lambda: False)

    child = children.start(work)
    os.close(monitor_fd)
    child.ready()
    return child


def _raise_limit() -> None:
    """Two descriptors for each connection: as many as this process may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class TcpDoor:
    """A listening socket."""

    def __init__(self, loop: EventLoop, listener: Listener) -> None:
        self._loop = loop
        self._sock = listener.sock
        self._port = listener.container_port
        self._open()

    def _open(self) -> None:
        self._loop.watch(self._sock.fileno(), READABLE, self._accept)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, _ = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is left: connections wait in the kernel meanwhile
                self._rest()
                return
            try:
                TcpConnection(self._loop, client, self._port)
            except OSError:
                client.close()
                self._rest()
                return

    def _rest(self) -> None:
        self._loop.forget(self._sock.fileno())
        self._loop.call_later(_REST_S, self._open)
