from __future__ import annotations

import httpx
import pytest

from overlayfs_py.registry.errors import Refused
from overlayfs_py.registry.proxies import Proxies

PROXY = "http://proxy:3128"
DIRECT = {
    "everything": ("*", "https://registry.example.com/"),
    "the host": ("registry.example.com", "https://registry.example.com/"),
    "a host below": ("example.com", "https://registry.example.com/"),
    "a domain": (".example.com", "https://registry.example.com/"),
    "a wildcard": ("*.example.com", "https://registry.example.com/"),
    "its port": ("registry.example.com:5000", "https://registry.example.com:5000/"),
    "an address": ("10.0.0.1", "https://10.0.0.1/"),
    "a network": ("10.0.0.0/8", "https://10.2.3.4/"),
    "an IPv6 address": ("[2001:db8::1]:443", "https://[2001:db8::1]/"),
    "this machine": ("", "http://localhost:5000/"),
    "this machine's address": ("", "http://127.0.0.1:5000/"),
}
THROUGH = {
    "another host": ("example.org", "https://registry.example.com/"),
    "a host that ends alike": ("example.com", "https://registry-example.com/"),
    "a domain is not its host": (".example.com", "https://example.com/"),
    "another port": ("registry.example.com:5000", "https://registry.example.com/"),
    "another network": ("10.0.0.0/8", "https://11.2.3.4/"),
}


@pytest.mark.parametrize(("exception", "url"), DIRECT.values(), ids=DIRECT.keys())
def test_an_exception_needs_no_proxy(exception: str, url: str) -> None:
    assert Proxies(PROXY, PROXY, (exception,)).find(httpx.URL(url)) is None


@pytest.mark.parametrize(("exception", "url"), THROUGH.values(), ids=THROUGH.keys())
def test_everything_else_goes_through_the_proxy(exception: str, url: str) -> None:
    assert Proxies(PROXY, PROXY, (exception,)).find(httpx.URL(url)) == PROXY


def test_each_scheme_has_its_own_proxy() -> None:
    proxies = Proxies(https="proxy:1")

    assert proxies.find(httpx.URL("https://example.com/")) == "http://proxy:1"
    assert proxies.find(httpx.URL("http://example.com/")) is None


@pytest.mark.parametrize("scheme", ["http", "https", "socks5", "socks5h", "SOCKS5"])
def test_a_proxy_may_be_of_these_kinds(scheme: str) -> None:
    proxy = f"{scheme}://u:p@proxy:1"

    assert Proxies(proxy, proxy).find(httpx.URL("https://example.com/")) == proxy


@pytest.mark.parametrize(
    "proxy",
    ["ftp://h:9", "socks4://u:secret@h:9", "://bad", "http://", "http://h:x", "http://h:999999"],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_another_proxy_is_refused_by_its_variable(proxy: str, scheme: str) -> None:
    with pytest.raises(Refused) as refusal:
        Proxies(proxy, proxy).find(httpx.URL(f"{scheme}://example.com/"))

    assert refusal.value.filename == f"{scheme.upper()}_PROXY"
    assert "secret" not in str(refusal.value)
