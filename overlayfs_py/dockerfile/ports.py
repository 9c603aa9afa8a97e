"""Ports of EXPOSE: `80`, `53/udp`, `8000-8010/tcp`."""

from __future__ import annotations

import ipaddress

from overlayfs_py.dockerfile.errors import ExpansionError
from overlayfs_py.late_import import late_pattern
from overlayfs_py.terminal_text import quoted

PROTOCOLS = ("tcp", "udp", "sctp")
_LARGEST = 65535
_NUMBER = late_pattern("[+]?[0-9]{1,9}")


def parse_ports(word: str) -> tuple[str, ...]:
    """Return the ports that a word of EXPOSE names, as a config has them: `80/tcp`.

    An address and a port of the host before them, which docker allows, have no effect.

    Raises:
        ExpansionError: it names none.
    """
    host, host_ports, ports = _parts(word)
    ports, _, protocol = ports.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol not in PROTOCOLS:
        raise ExpansionError(
            f"{quoted(word)}: no protocol {quoted(protocol)}: {', '.join(PROTOCOLS)}"
        )
    _require_address(host, word)
    first, last = _range(ports, word)
    if host_ports:
        host_first, host_last = _range(host_ports, word)
        if last - first not in (0, host_last - host_first):
            raise ExpansionError(f"{quoted(word)}: the two ranges differ in length")
    return tuple(f"{port}/{protocol}" for port in range(first, last + 1))


def is_mapping(word: str) -> bool:
    """Whether the word names an address or port of the host too, which EXPOSE has no use for."""
    return any(_parts(word)[:2])


def _parts(word: str) -> tuple[str, str, str]:
    before, _, ports = word.rpartition(":")
    host, _, host_ports = before.rpartition(":")
    return host, host_ports, ports


def _require_address(text: str, word: str) -> None:
    if not text:
        return
    try:
        ipaddress.ip_address(text[1:-1] if text[0] == "[" and text[-1] == "]" else text)
    except ValueError:
        raise ExpansionError(f"{quoted(word)}: no address {quoted(text)}") from None


def _range(text: str, word: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = (_port(first, word), _port(last if dash else first, word))
    if numbers[1] < numbers[0]:
        raise ExpansionError(f"{quoted(word)}: the range ends before it begins")
    return numbers


def _port(text: str, word: str) -> int:
    if _NUMBER.fullmatch(text) is None or int(text) > _LARGEST:
        raise ExpansionError(f"{quoted(word)}: expected a port, 0 to {_LARGEST}")
    return int(text)
