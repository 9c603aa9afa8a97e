"""What passes is tried again, what leads elsewhere carries no credentials, the rest is an error."""

from __future__ import annotations

import itertools
import logging
import re
import socket
import ssl
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest
import trio
import trustme

from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.client import ClientOptions, RegistryClient
from overlayfs_py.registry.errors import BadAnswer, NotThere, RegistryError, Unavailable
from overlayfs_py.registry.proxies import Proxies
from overlayfs_py.registry.retrying import RetryPolicy
from overlayfs_py.registry.transport import Call, Transport, TransportOptions
from tests.registry.clients import QUICK, SECRET, client, login
from tests.support.http_server import HANG_UP, Handler, Reply, Request, http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.registry.conftest import Serve

PASSING = {
    "500": Reply(500),
    "503": Reply(503, body=b"<html>busy</html>"),
    "429": Reply(429, {"Retry-After": "0"}),
    "no answer": HANG_UP,
}
STRANGE_REDIRECTS = ("", "ftp://host/x", "http://a:b/", "file:///etc/passwd")


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    async with Transport(httpx.URL("http://home.example"), TransportOptions(retry=QUICK)) as t:
        yield t


def get(url: str, authorization: str | None = None) -> Call:
    return Call("GET", httpx.URL(url), authorization=authorization, what="the thing")


def replies(*all_of_them: Reply) -> Handler:
    """Give each in turn, then the last one for ever."""
    left = itertools.chain(all_of_them, itertools.repeat(all_of_them[-1]))
    return lambda _: next(left)


@pytest.mark.parametrize("passing", PASSING.values(), ids=PASSING.keys())
@pytest.mark.trio
async def test_what_may_pass_is_tried_again(serve: Serve, transport, passing: Reply) -> None:
    server = serve(replies(passing, passing, Reply(body=b"here")))

    async with await transport.send(get(server.url)) as answer:
        assert await answer.read("") == b"here"
    assert len(server.requests) == 3


@pytest.mark.trio
async def test_a_log_of_requests_tells_no_secret(
    serve: Serve, transport, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(replies(Reply(404)))
    url = server.url.replace("://", "://user:hidden@")
    caplog.set_level(logging.DEBUG, "overlayfs_py")

    async with await transport.send(get(f"{url}/v2/a?signature=hidden", "Basic hidden")):
        pass

    (line,) = caplog.messages
    assert re.fullmatch(rf"GET {server.url}/v2/a \(Basic\): 404, \d+ ms", line)


@pytest.mark.trio
async def test_tries_come_to_an_end(serve: Serve, transport) -> None:
    silent = serve(replies(HANG_UP))
    broken = serve(replies(Reply(502)))

    with pytest.raises(Unavailable, match=r"the thing.*disconnected|the thing"):
        await transport.send(get(silent.url))
    async with await transport.send(get(broken.url)) as answer:
        assert answer.status == 502
    assert len(silent.requests) == len(broken.requests) == QUICK.tries


@pytest.mark.trio
async def test_what_does_not_pass_is_not_tried_again(serve: Serve, transport) -> None:
    server = serve(replies(Reply(404)))

    async with await transport.send(get(server.url)) as answer:
        assert answer.status == 404
    assert len(server.requests) == 1


@pytest.mark.trio
async def test_retry_after_is_kept_to(serve: Serve, transport) -> None:
    server = serve(replies(Reply(429, {"Retry-After": "1"}), Reply()))
    start = time.monotonic()

    async with await transport.send(get(server.url)) as answer:
        assert answer.status == 200
    assert time.monotonic() - start >= 1


@pytest.mark.trio
async def test_a_retry_after_of_hours_is_an_error_at_once(serve: Serve, transport) -> None:
    limit = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"pull rate limit"}]}'
    server = serve(replies(Reply(429, {"Retry-After": "21600"}, limit)))

    with pytest.raises(Unavailable, match=r"pull rate limit; it asks to wait for 21600 s"):
        await transport.send(get(server.url))
    assert len(server.requests) == 1


@pytest.mark.trio
async def test_credentials_go_to_no_other_host(serve: Serve, transport) -> None:
    other = serve(replies(Reply(body=b"blob")))
    home = serve(replies(Reply(307, {"Location": f"{other.url}/blob?sig=a%2Fb"})))

    async with await transport.send(get(home.url, "Basic c2VjcmV0")) as answer:
        assert await answer.read("") == b"blob"
    assert home.requests[0].headers["authorization"] == "Basic c2VjcmV0"
    assert "authorization" not in other.requests[0].headers
    assert other.paths() == ["/blob?sig=a%2Fb"]


@pytest.mark.trio
async def test_credentials_do_not_come_back_by_a_detour(serve: Serve, transport) -> None:
    home = serve(
        lambda request: (
            Reply(302, {"Location": f"{other.url}/"})
            if request.path == "/"
            else Reply(body=b"home")
        )
    )
    other = serve(replies(Reply(302, {"Location": f"{home.url}/again"})))

    async with await transport.send(get(home.url + "/", "Basic c2VjcmV0")) as answer:
        assert await answer.read("") == b"home"
    assert ["authorization" in request.headers for request in home.requests] == [True, False]


@pytest.mark.trio
async def test_credentials_stay_on_the_same_host(serve: Serve, transport) -> None:
    server = serve(
        lambda request: Reply(301, {"Location": "moved"}) if request.path == "/" else Reply()
    )

    async with await transport.send(get(server.url + "/", "Basic c2VjcmV0")) as answer:
        assert answer.status == 200
    assert server.paths() == ["/", "/moved"]
    assert all("authorization" in request.headers for request in server.requests)


@pytest.mark.trio
async def test_redirects_in_a_circle_are_an_error(serve: Serve, transport) -> None:
    server = serve(replies(Reply(302, {"Location": "/"})))

    with pytest.raises(BadAnswer, match="more than 10 redirects"):
        await transport.send(get(server.url))
    assert len(server.requests) == 10


@pytest.mark.parametrize("location", STRANGE_REDIRECTS)
@pytest.mark.trio
async def test_a_redirect_to_nowhere_is_an_error(serve: Serve, transport, location: str) -> None:
    server = serve(replies(Reply(302, {"Location": location})))

    with pytest.raises(BadAnswer, match="sends us to"):
        await transport.send(get(server.url))


@pytest.mark.trio
async def test_nothing_is_kept_between_requests(serve: Serve, transport) -> None:
    """No cookies, no compression, and only the headers that we mean."""
    server = serve(replies(Reply(headers={"Set-Cookie": "track=1", "Content-Encoding": "gzip"})))

    for _ in range(2):
        async with await transport.send(get(server.url)) as answer:
            assert await answer.read("") == b""
    assert server.requests[1].headers.keys() == {"host", "user-agent", "accept-encoding"}
    assert server.requests[1].headers["accept-encoding"] == "identity"
    assert server.requests[1].headers["user-agent"].startswith("overlayfs-py/")


@pytest.mark.trio
async def test_connections_are_used_again(serve: Serve, transport) -> None:
    server = serve(replies(Reply(body=b"x")))

    for _ in range(5):
        async with await transport.send(get(server.url)) as answer:
            await answer.read("")
    assert len(server.opened) == 1


@pytest.mark.trio
async def test_an_endless_document_is_cut(serve: Serve, transport) -> None:
    server = serve(replies(Reply(body=itertools.repeat(b"x" * 65536))))

    async with await transport.send(get(server.url)) as answer:
        with pytest.raises(BadAnswer, match=r"more than 1048576 bytes"):
            await answer.read("the thing", 1 << 20)


@pytest.mark.trio
async def test_a_server_that_falls_silent_is_left(serve: Serve) -> None:
    def stall() -> Iterator[bytes]:
        yield b"begin"
        server.stopping.wait()

    server = serve(lambda _: Reply(body=stall()))
    options = TransportOptions(retry=replace(QUICK, silence_s=0.05))

    async with (
        Transport(httpx.URL("http://home.example"), options) as transport,
        await transport.send(get(server.url)) as answer,
    ):
        assert await answer.receive_some() == b"begin"
        with pytest.raises(ConnectionLost, match=r"nothing came for 0.05 s"):
            await answer.receive_some()


@pytest.mark.trio
async def test_a_server_that_trickles_is_left(serve: Serve) -> None:
    def trickle() -> Iterator[bytes]:
        while not server.stopping.wait(0.01):
            yield b"x"

    server = serve(lambda _: Reply(body=trickle()))
    options = TransportOptions(retry=replace(QUICK, silence_s=0.1))

    async with (
        Transport(httpx.URL("http://home.example"), options) as transport,
        await transport.send(get(server.url)) as answer,
    ):
        with pytest.raises(ConnectionLost, match=r"only \d+ bytes in 0.1 s"):
            await answer.read("")


@pytest.mark.trio
async def test_a_document_has_to_come_in_time(serve: Serve) -> None:
    def drip() -> Iterator[bytes]:
        while not server.stopping.wait(0.01):
            yield b"x" * 4096

    server = serve(lambda _: Reply(body=drip()))
    options = TransportOptions(retry=replace(QUICK, whole_answer_s=0.1))

    async with (
        Transport(httpx.URL("http://home.example"), options) as transport,
        await transport.send(get(server.url)) as answer,
    ):
        with pytest.raises(ConnectionLost, match=r"no whole answer in 0.1 s"):
            await answer.read("")


@pytest.mark.trio
async def test_a_port_that_nobody_serves_is_said_at_once(transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        domain = f"127.0.0.1:{listener.getsockname()[1]}"
    patient = RetryPolicy(first_delay_s=60)

    with (
        trio.fail_after(5),
        pytest.raises(Unavailable, match=f"{domain}: cannot connect: .*refuse"),
    ):
        async with Transport(
            httpx.URL("http://home.example"), TransportOptions(retry=patient)
        ) as ours:
            await ours.send(get(f"http://{domain}/"))


@pytest.mark.trio
async def test_a_host_that_does_not_exist_is_said(transport) -> None:
    with pytest.raises(Unavailable, match=r"nowhere.invalid: no such host"):
        await transport.send(get("http://nowhere.invalid/"))


@pytest.mark.trio
async def test_requests_go_through_the_proxy(serve: Serve) -> None:
    proxy = serve(replies(Reply(body=b"by proxy")))
    options = TransportOptions(retry=QUICK, proxies=Proxies(http=proxy.url))

    async with (
        Transport(httpx.URL("http://home.example"), options) as transport,
        await transport.send(get("http://registry.invalid/v2/")) as answer,
    ):
        assert await answer.read("") == b"by proxy"
    assert proxy.paths() == ["http://registry.invalid/v2/"]


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def certs_d(tmp_path: Path, authority: trustme.CA) -> Path:
    directory = tmp_path / "certs.d"
    directory.mkdir()
    authority.cert_pem.write_to_path(directory / "ca.crt")
    return directory


def over_tls(**options: object) -> RegistryClient:
    return RegistryClient(ClientOptions(retry=QUICK, **options))  # type: ignore[arg-type]


@pytest.mark.trio
async def test_a_private_authority_is_believed_where_it_is_named(
    tmp_path: Path, server_context: ssl.SSLContext, certs_d: Path
) -> None:
    with http_server(replies(Reply()), server_context) as server:
        async with over_tls(cert_dir=certs_d) as ours:
            await ours.host(server.domain).check("it")
        (tmp_path / server.domain).symlink_to(certs_d)
        async with over_tls(certs_dirs=(tmp_path / "none", tmp_path)) as ours:
            await ours.host(server.domain).check("it")
        async with over_tls() as ours:
            with pytest.raises(Unavailable, match="certificate not trusted: unable to get local"):
                await ours.host(server.domain).check("it")
        assert len(server.requests) == 2


@pytest.mark.trio
async def test_tls_verify_false_takes_any_certificate(server_context: ssl.SSLContext) -> None:
    with http_server(replies(Reply()), server_context) as server:
        async with over_tls(tls_verify=False) as ours:
            await ours.host(server.domain).check("it")
        assert {request.path for request in server.requests} == {"/v2/"}


@pytest.mark.trio
async def test_a_certificate_for_another_host_is_refused(
    authority: trustme.CA, certs_d: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.example").configure_cert(context)
    with http_server(replies(Reply()), context) as server:
        async with over_tls(cert_dir=certs_d) as ours:
            with pytest.raises(Unavailable, match=r"not trusted: .*not valid for '127.0.0.1'"):
                await ours.host(server.domain).check("it")
        assert server.requests == []


@pytest.mark.trio
async def test_plain_http_needs_to_be_allowed(serve: Serve) -> None:
    server = serve(replies(Reply()))

    async with client(tls_verify=None) as ours:
        with pytest.raises(Unavailable, match=r"does not speak TLS \(--tls-verify=false"):
            await ours.host(server.domain).check("it")
        assert server.requests == []
        await ours.host(server.domain, insecure=True).check("it")
    assert server.paths() == ["/v2/", "/v2/"]


@pytest.mark.trio
async def test_who_we_are_is_shown_by_certificate_to_the_registry_alone(
    authority: trustme.CA, certs_d: Path
) -> None:
    identity = authority.issue_cert("client@example.com")
    identity.cert_chain_pems[0].write_to_path(certs_d / "client.cert")
    identity.private_key_pem.write_to_path(certs_d / "client.key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED

    with http_server(replies(Reply()), context) as other:
        sends_on = replies(Reply(302, {"Location": f"{other.url}/"}))
        with http_server(sends_on, context) as home:
            async with over_tls(cert_dir=certs_d) as ours:
                with pytest.raises(RegistryError):
                    await ours.host(home.domain).check("it")
            assert home.paths() == ["/v2/"]
            assert other.requests == []


@pytest.mark.trio
async def test_tls_is_not_left_on_the_way(
    serve: Serve, server_context: ssl.SSLContext, certs_d: Path
) -> None:
    plain = serve(replies(Reply()))
    sends_on = replies(Reply(302, {"Location": f"{plain.url}/"}))
    with http_server(sends_on, server_context) as home:
        async with over_tls(cert_dir=certs_d) as ours:
            with pytest.raises(BadAnswer, match=r"sends us to 127.0.0.1 without TLS"):
                await ours.host(home.domain).check("it")
    assert plain.requests == []


def test_a_certificate_without_its_key_is_named(certs_d: Path) -> None:
    (certs_d / "client.cert").write_text("")

    with pytest.raises(RegistryError, match="its key is missing") as refused:
        over_tls(cert_dir=certs_d).host("r.example")
    assert refused.value.filename == str(certs_d / "client.cert")


@pytest.mark.trio
async def test_a_file_that_is_no_certificate_is_named(certs_d: Path) -> None:
    (certs_d / "ca.crt").write_text("nonsense")

    async with over_tls(cert_dir=certs_d) as ours:
        with pytest.raises(RegistryError, match="not usable for TLS") as refused:
            await ours.host("r.example").check("it")
    assert refused.value.filename == str(certs_d / "ca.crt")


# What is said


@pytest.mark.trio
async def test_the_registrys_reason_is_shown_without_its_control_characters(serve: Serve) -> None:
    body = (
        b'{"errors":[{"code":"NAME_UNKNOWN","message":"\\u001b[31mno such\\nname","detail":"x"}]}'
    )
    server = serve(replies(Reply(404, body=body)))

    async with client() as ours:
        with pytest.raises(NotThere) as failure:
            await ours.host(server.domain).check("it")
    assert failure.value.strerror == r"127.0.0.1: \x1b[31mno such\x0aname: x"
    assert failure.value.exit_code == 31


@pytest.mark.trio
async def test_a_page_in_place_of_a_reason_is_only_its_status(serve: Serve) -> None:
    server = serve(replies(Reply(418, body=b"<html>" * 100_000)))

    async with client(credentials=login("127.0.0.1")) as ours:
        with pytest.raises(RegistryError) as failure:
            await ours.host(server.domain).check("it")
    assert failure.value.strerror == "127.0.0.1 answered 418 I'm a Teapot"
    assert SECRET not in str(failure.value)


def test_a_request_is_remembered_as_it_came() -> None:
    with http_server(lambda _: Reply()) as server:
        httpx.put(f"{server.url}/a", content=b"body", trust_env=False)

    assert server.requests[0] == Request("PUT", "/a", server.requests[0].headers, b"body")


ODD_HOSTS = (
    "a" * 64 + ".example",
    "localhost:99999",
    "xn--",
    "a b",
    "[::1",
    "u@h",
)


@pytest.mark.parametrize("domain", ODD_HOSTS)
@pytest.mark.trio
async def test_a_host_that_cannot_be_is_one_line(domain: str) -> None:
    async with client() as ours:
        with pytest.raises(RegistryError, match=r"no such|not a registry"):
            await ours.host(domain).check(domain)
