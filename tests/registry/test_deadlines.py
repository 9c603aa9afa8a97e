"""Nothing is waited for without an end, and the line says what was waited for."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.errors import RegistryError, Unavailable
from overlayfs_py.registry.proxies import Proxies
from overlayfs_py.registry.transport import Call, Transport, TransportOptions
from tests.registry.clients import QUICK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Script = Callable[[socket.socket, threading.Event], None]

HASTY = replace(QUICK, connect_s=0.3, silence_s=0.3, storing_s=0.6, tries=2)
_TRICKLE_S = 0.02


@contextmanager
def raw_server(script: Script) -> Iterator[str]:
    """Do with each connection as the script says; yields `host:port`."""
    over, threads = threading.Event(), []
    opened: list[socket.socket] = []

    def run(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            script(connection, over)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            opened.append(connection)
            threads.append(threading.Thread(target=run, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)
            for connection in opened:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in (acceptor, *threads):
                thread.join()


def drip(connection: socket.socket, over: threading.Event, begin: bytes) -> None:
    """Send a byte now and then for ever."""
    connection.sendall(begin)
    while not over.wait(_TRICKLE_S):
        connection.sendall(b"a")


def trickling_header(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    drip(connection, over, b"HTTP/1.1 200 OK\r\nX-Slow: ")


def endless_interim_answers(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    while not over.wait(_TRICKLE_S):
        connection.sendall(b"HTTP/1.1 102 Processing\r\n\r\n")


def silence(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    over.wait()


SILENT: dict[str, Script] = {
    "a header that trickles": trickling_header,
    "interim answers": endless_interim_answers,
    "silence": silence,
}


def get(url: str) -> Call:
    return Call("GET", httpx.URL(url), what="the thing")


@pytest.mark.parametrize("script", SILENT.values(), ids=SILENT.keys())
@pytest.mark.trio
async def test_a_header_has_to_come_in_time(script: Script) -> None:
    with raw_server(script) as domain, trio.fail_after(10):
        async with Transport(httpx.URL(f"http://{domain}"), TransportOptions(retry=HASTY)) as ours:
            with pytest.raises(Unavailable, match=r"127.0.0.1: no answer in 0.3 s"):
                await ours.send(get(f"http://{domain}/"))


@pytest.mark.trio
async def test_a_registry_has_more_time_to_store_something() -> None:
    with raw_server(silence) as domain, trio.fail_after(10):
        async with Transport(httpx.URL(f"http://{domain}"), TransportOptions(retry=HASTY)) as ours:
            call = Call("PUT", httpx.URL(f"http://{domain}/"), body=b"x", stores=True)
            with pytest.raises(ConnectionLost, match=r"no answer in 0.6 s"):
                await ours.send_once(call)


@pytest.mark.trio
async def test_bytes_that_are_none_of_the_body_are_none() -> None:
    def script(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(65536)
        drip(connection, over, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=")

    with raw_server(script) as domain, trio.fail_after(10):
        async with (
            Transport(httpx.URL(f"http://{domain}"), TransportOptions(retry=HASTY)) as ours,
            await ours.send(get(f"http://{domain}/")) as answer,
        ):
            with pytest.raises(ConnectionLost, match=r"nothing came for 0.3 s"):
                await answer.receive_some()


@pytest.mark.trio
async def test_a_registry_that_takes_nothing_is_left() -> None:
    with raw_server(lambda _, over: _wait(over)) as domain, trio.fail_after(10):
        async with Transport(httpx.URL(f"http://{domain}"), TransportOptions(retry=HASTY)) as ours:
            call = Call("PATCH", httpx.URL(f"http://{domain}/"), body=bytes(64 << 20))
            with pytest.raises(ConnectionLost, match=r"took nothing for 0.3 s"):
                await ours.send_once(call)


@pytest.mark.trio
async def test_a_large_body_may_take_its_time() -> None:
    """What goes slowly but goes is not given up: the limit is for a piece, not for the body."""

    def script(connection: socket.socket, over: threading.Event) -> None:
        left = 64 << 20
        while left > 0 and not over.wait(0.01):
            left -= len(connection.recv(1 << 20, socket.MSG_WAITALL))
        connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")

    with raw_server(script) as domain, trio.fail_after(30):
        async with Transport(httpx.URL(f"http://{domain}"), TransportOptions(retry=HASTY)) as ours:
            call = Call("PUT", httpx.URL(f"http://{domain}/"), body=bytes(64 << 20))
            start = trio.current_time()
            async with await ours.send_once(call) as answer:
                assert answer.status == 201
            assert trio.current_time() - start > HASTY.silence_s


def _wait(over: threading.Event) -> None:
    over.wait()


def tls_silence(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    over.wait()


@pytest.mark.trio
async def test_a_handshake_has_to_come_in_time() -> None:
    with raw_server(tls_silence) as domain, trio.fail_after(10):
        async with Transport(httpx.URL(f"https://{domain}"), TransportOptions(retry=HASTY)) as ours:
            with pytest.raises(Unavailable, match=r"no connection in time"):
                await ours.send(get(f"https://{domain}/"))


PROXIES: dict[str, tuple[str, Script, str]] = {
    "http, a header that trickles": ("http", trickling_header, "no answer in 0.3 s"),
    "http, silence": ("http", silence, "no answer in 0.3 s"),
    "socks, silence": ("socks5", silence, "the SOCKS proxy did not connect in 0.3 s"),
    "socks, another protocol": (
        "socks5",
        lambda c, _: c.sendall(c.recv(99) and b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "its SOCKS proxy's answer makes no sense",
    ),
    "socks, a refusal": ("socks5", lambda c, _: c.sendall(c.recv(99) and b"\5\xff"), "connect"),
    "socks, it hangs up": ("socks5", lambda c, _: c.close(), "SOCKS proxy|connect|lost"),
}


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(("kind", "script", "words"), PROXIES.values(), ids=PROXIES.keys())
@pytest.mark.trio
async def test_a_proxy_has_to_answer_in_time(
    scheme: str, kind: str, script: Script, words: str
) -> None:
    with raw_server(script) as domain, trio.fail_after(10):
        proxy = f"{kind}://{domain}"
        options = TransportOptions(retry=HASTY, proxies=Proxies(proxy, proxy))
        async with Transport(httpx.URL("http://home.example"), options) as ours:
            with pytest.raises(RegistryError, match=words):
                await ours.send(get(f"{scheme}://registry.example/"))
