"""Which proxy a request goes through, by the words of HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True)
class Proxies:
    """As Go has it (golang.org/x/net/http/httpproxy), for container engines follow that."""

    https: str | None = None
    http: str | None = None
    # Hosts that need none: `*`, `host`, `.domain`, `*.domain`, an address or a network, each
    # `:port` perhaps.
    exceptions: tuple[str, ...] = ()

    def find(self, url: httpx.URL) -> str | None:
        """Return the proxy for `url`; None for this machine and for the exceptions."""
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None or _is_loopback(url.host):
            return None
        if any(_matches(exception.strip().lower(), url) for exception in self.exceptions):
            return None
        return proxy if "://" in proxy else f"http://{proxy}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _matches(exception: str, url: httpx.URL) -> bool:
    if exception == "*":
        return True
    name, colon, port = exception.rpartition(":")
    if colon and port.isdecimal() and (":" not in name or name.endswith("]")):
        actual = url.port or (443 if url.scheme == "https" else 80)
        return int(port) == actual and _is_named(name.strip("[]"), url.host)
    return _is_named(exception, url.host)


def _is_named(exception: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(exception, strict=False)
    except ValueError:
        domain = exception.removeprefix("*").removeprefix(".")
        only_below = exception.startswith((".", "*"))
        return bool(domain) and (host.endswith(f".{domain}") or (host == domain and not only_below))
