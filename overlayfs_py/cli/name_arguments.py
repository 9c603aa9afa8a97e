"""Options of `run` and `create` on what names a container has and how it looks up others."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from overlayfs_py.backends.option_values import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?"
_HOST = re.compile(r"([A-Za-z0-9._-]{1,253})[:=](.+)")
_GATEWAY = "host-gateway"
_ROOT = "."  # as a domain to search: none
_RESOLVER_OPTION = re.compile(r"[!-~]{1,253}")


def hosts(texts: Sequence[str], network: str) -> tuple[str, ...]:
    """NAME:ADDRESS of each; `host-gateway` is this machine."""
    found = []
    for text in texts:
        form = _HOST.fullmatch(text)
        if form is None:
            raise OptionError("--add-host", f"{text}: not of the form NAME:ADDRESS")
        name, address = form[1], form[2]
        if address == _GATEWAY and network == "host":
            address = "127.0.0.1"
        found.append(f"{name}:{_address('--add-host', address.strip('[]'))}")
    return tuple(found)


def servers(texts: Sequence[str]) -> tuple[str, ...]:
    """Addresses of servers of names."""
    return tuple(_address("--dns", text) for text in texts)


def domains(texts: Sequence[str]) -> tuple[str, ...]:
    """Domains in which short names are looked for; `.` alone means none."""
    for text in texts:
        if text != _ROOT and re.fullmatch(_NAME + r"\.?", text) is None:
            raise OptionError("--dns-search", f"{text}: not a domain")
    return tuple(texts)


def resolver_options(texts: Sequence[str]) -> tuple[str, ...]:
    """Words of resolv.conf(5)'s `options`."""
    for text in texts:
        if _RESOLVER_OPTION.fullmatch(text) is None:
            raise OptionError("--dns-option", f"{text!r}: not one word")
    return tuple(texts)


def aliases(texts: Sequence[str], network: str) -> tuple[str, ...]:
    """Names more of a container that has a network of its own."""
    for text in texts:
        if re.fullmatch(_NAME, text) is None:
            raise OptionError("--network-alias", f"{text}: not a name")
        if network == "host":
            raise OptionError("--network-alias", f"{text}: not with the host's network")
    return tuple(texts)


def _address(option: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise OptionError(option, f"{text}: not an IP address") from None
