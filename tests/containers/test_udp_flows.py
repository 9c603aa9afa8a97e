"""Flows of datagrams come to an end."""

from __future__ import annotations

import socket
import time
from contextlib import closing
from pathlib import Path

from overlayfs_py.containers import udp_flows
from overlayfs_py.containers.event_loop import EventLoop
from overlayfs_py.containers.udp_flows import UdpFlows

_IDLE_S = 0.2


class _LocalFlows(UdpFlows):
    """Flows in the test's own network, which has no addresses of a container's."""

    def _socket(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        return sock


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _send(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"x", address)


def _bound() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    return sock


def _go_on(loop: EventLoop, seconds: float) -> None:
    end = time.monotonic() + seconds
    loop.call_later(seconds, lambda: None)
    loop.run_until(lambda: time.monotonic() >= end)


def test_an_idle_flow_ends() -> None:
    loop = EventLoop()
    with closing(_bound()) as sock:
        before = _descriptors()
        _LocalFlows(loop, sock, 9, _IDLE_S)
        _send(sock.getsockname())
        _go_on(loop, _IDLE_S / 4)
        assert _descriptors() == before + 1
        _go_on(loop, 3 * _IDLE_S)
        assert _descriptors() == before


def test_flows_have_an_upper_bound() -> None:
    loop = EventLoop()
    with closing(_bound()) as sock:
        before = _descriptors()
        _LocalFlows(loop, sock, 9, 1.0)
        for _ in range(4):
            for _ in range(udp_flows.MOST_FLOWS // 2):
                _send(sock.getsockname())
            _go_on(loop, 0.05)
        assert _descriptors() == before + udp_flows.MOST_FLOWS
        _go_on(loop, 1.2)
        assert _descriptors() == before
