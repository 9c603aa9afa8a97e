"""Which proxy a request goes through, by the words of HTTPS_PROXY, HTTP_PROXY and NO_PROXY."""

from __future__ import annotations

import importlib.util
import ipaddress
from dataclasses import dataclass

from overlayfs_py.registry.errors import Refused
from overlayfs_py.registry.httpx_library import httpx

LAST_PORT = 65535
_SCHEMES = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True)
class Proxies:
    """As Go has it (golang.org/x/net/http/httpproxy), for container engines follow that."""

    https: str | None = None
    http: str | None = None
    # Hosts that need none: `*`, `host`, `.domain`, `*.domain`, an address or a network, each
    # `:port` perhaps.
    exceptions: tuple[str, ...] = ()

    def find(self, url: httpx.URL) -> str | None:
        """Return the proxy for `url`; None for this machine and for the exceptions.

        Raises:
            Refused: what is given as the proxy is none that can be used.
        """
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None or is_loopback(url.host):
            return None
        if any(_matches(exception.strip().lower(), url) for exception in self.exceptions):
            return None
        return _usable(proxy, "HTTPS_PROXY" if url.scheme == "https" else "HTTP_PROXY")


def _usable(text: str, variable: str) -> str:
    """The URL of the proxy that a variable names.

    What the variable says is not shown in errors: there may be a password in it.
    """
    scheme, is_url, _ = text.partition("://")
    if is_url and scheme.lower() not in _SCHEMES:
        raise Refused(variable, f"a proxy of the kind {scheme!r}, not of {', '.join(_SCHEMES)}")
    try:
        proxy = httpx.Proxy(text if is_url else f"http://{text}")
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused(variable, "not the URL of a proxy") from error
    if not proxy.url.host or (proxy.url.port or 1) > LAST_PORT:
        raise Refused(variable, "not the URL of a proxy: no host, or no such port")
    if proxy.url.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        raise Refused(variable, "a SOCKS proxy needs the Python package socksio")
    return text if is_url else f"http://{text}"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
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
