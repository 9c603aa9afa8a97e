"""What `-p` and an image's exposed ports say: ports of the host that lead into a container."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from overlayfs_py.store.containers import PublishedPort

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FORM = re.compile(
    r"(?:(?:(?P<ip>[0-9.]*|\[[0-9a-fA-F:.]*\]):)?(?P<host>[0-9-]*):)?"
    r"(?P<container>[0-9-]+)(?:/(?P<protocol>\w+))?"
)
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")
_PROTOCOLS = ("tcp", "udp")


def parse(text: str) -> list[PublishedPort]:
    """Return what `[IP:][HOSTPORT]:CONTAINERPORT[/tcp|udp]` means; ports may be ranges.

    Raises:
        ValueError: it is not of that form, or means nothing.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("not of the form [IP:][HOSTPORT]:CONTAINERPORT[/tcp|udp]")
    protocol = _protocol(found["protocol"])
    ip = _address(found["ip"] or "")
    inside = _range(found["container"])
    if inside[0] == 0:
        raise ValueError("a container has no port 0")
    outside = _range(found["host"]) if found["host"] else range(1)
    if len(outside) > 1 and not outside[0]:
        raise ValueError("port 0 is any port, and begins no range")
    if len(inside) == 1:
        last = outside[-1] if len(outside) > 1 else 0
        return [_port(inside[0], protocol, ip, outside[0], last)]
    if outside[0] and len(outside) != len(inside):
        raise ValueError("the ranges are not of one length")
    hosts = outside if outside[0] else [0] * len(inside)
    return [_port(port, protocol, ip, host) for port, host in zip(inside, hosts, strict=True)]


def of_exposed(
    exposed: Iterable[str], published: Iterable[PublishedPort]
) -> Iterator[PublishedPort]:
    """Yield a port for each that an image exposes, `80/tcp` or `8000-8010/udp`, and no `-p` names.

    Raises:
        ValueError: one makes no sense.
    """
    taken = {(port.container_port, port.protocol) for port in published}
    for text in exposed:
        for port in parse(text):
            if (port.container_port, port.protocol) not in taken:
                yield port


def _port(inside: int, protocol: str, ip: str, outside: int, last: int = 0) -> PublishedPort:
    return PublishedPort(
        container_port=inside,
        protocol=protocol,
        host_ip=ip,
        host_port=outside,
        host_port_last=last,
    )


def _protocol(text: str | None) -> str:
    protocol = (text or "tcp").lower()
    if protocol not in _PROTOCOLS:
        raise ValueError(f"{protocol}: only tcp and udp can be published")
    return protocol


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text.strip("[]"))) if text else ""


def _range(text: str) -> range:
    found = _RANGE.fullmatch(text)
    first, last = (0, -1) if found is None else (int(found[1]), int(found[2] or found[1]))
    if last < first or last > 0xFFFF:
        raise ValueError(f"{text}: no port, nor a range of ports")
    return range(first, last + 1)
