"""A network namespace of a container's own, in which nothing is up but loopback."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from overlayfs_py.errors import Failure, describe
from overlayfs_py.mounts import children
from overlayfs_py.syscalls import namespaces

if TYPE_CHECKING:
    from overlayfs_py.mounts.children import Report

# What a forwarder comes from, and what it reaches a container's servers at: addresses of the
# container's loopback device, but none of 127.0.0.0/8. A server trusts clients from there
# (PostgreSQL's image lets them in without a password), and such a client is on this machine.
GATEWAY = "169.254.95.1"
ADDRESS = "169.254.95.2"

_SELF = "/proc/self/ns/net"
_LOWEST_PORT = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
# linux/sockios.h, linux/if.h
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP = 1
_FLAGS_REQUEST = struct.Struct("16sh22x")
_ADDRESS_REQUEST = struct.Struct("16sHH4s16x")


def make(addresses: tuple[str, ...]) -> int:
    """Make a namespace, and return a descriptor of it; it lives as long as that does.

    A child makes it: an ordinary user's process that had left the host's could not go back. Its
    loopback device has `addresses` besides its own.

    Raises:
        Failure: the kernel allows none.
    """
    ours, theirs = socket.socketpair()

    def work(report: Report) -> None:
        try:
            namespaces.unshare(namespaces.CLONE_NEWNET)
            _raise_loopback(addresses)
        except OSError as error:
            raise Failure(f"network namespace: {describe(error)}") from error
        fd = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        socket.send_fds(theirs, [b"n"], [fd])
        report.ready()

    with ours, theirs:
        child = children.start(work)
        child.ready()
        child.wait()
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    os.set_inheritable(fds[0], False)
    return fds[0]


def _raise_loopback(addresses: tuple[str, ...]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = _FLAGS_REQUEST.pack(b"lo", 0)
        _, flags = _FLAGS_REQUEST.unpack(fcntl.ioctl(sock, _SIOCGIFFLAGS, request))
        fcntl.ioctl(sock, _SIOCSIFFLAGS, _FLAGS_REQUEST.pack(b"lo", flags | _IFF_UP))
        for number, address in enumerate(addresses):
            for call, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, "255.255.255.255")):
                fcntl.ioctl(sock, call, _address_request(b"lo:%d" % number, value))
    # As in docker: a user of the container may listen on its port 80.
    with open(_LOWEST_PORT, "w") as file:
        file.write("0")


def _address_request(device: bytes, address: str) -> bytes:
    return _ADDRESS_REQUEST.pack(device, socket.AF_INET, 0, socket.inet_aton(address))
