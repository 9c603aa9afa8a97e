"""HTTP on trio: requests that are tried again, redirects that carry no credentials elsewhere.

Plan: httpx's connection pool and its parsing, and nothing else of httpx: a client of its own would
follow redirects, keep cookies, read the environment and ~/.netrc. Every request but an upload's
stream has its whole body in memory, so that it may be sent twice.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from overlayfs_py import __version__
from overlayfs_py.registry.answers import Answer, ConnectionLost
from overlayfs_py.registry.deadlines import StepDeadlines
from overlayfs_py.registry.errors import BadAnswer, Unavailable
from overlayfs_py.registry.httpx_library import httpx
from overlayfs_py.registry.proxies import LAST_PORT, Proxies
from overlayfs_py.registry.retrying import RetryPolicy, Tries, parse_retry_after
from overlayfs_py.registry.tls import TlsFiles, make_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType
    from typing import Self

log = logging.getLogger(__name__)

USER_AGENT = f"overlayfs-py/{__version__}"
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 10  # what Go's client follows
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_MOST_CONNECTIONS = 16
# Of what is sent; it has to go within `silence_s`, so this is the least rate, too.
PIECE_BYTES = 64 << 10
_DEFAULT_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Call:
    """One request."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None  # in place of `body`: sent once, and never again
    authorization: str | None = None  # for the origin of `url`, and for no other
    stores: bool = False  # the answer may take as long as storing something takes
    what: str = ""  # the reference or blob that it is for

    def follows(self, status: int) -> bool:
        """Whether it is sent to where an answer says; RFC 9110, 15.4: 307 and 308 keep the body."""
        return status in _REDIRECTS and (
            self.method in {"GET", "HEAD"} or (status in {307, 308} and self.stream is None)
        )


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """How one registry is reached."""

    tls: TlsFiles = field(default_factory=TlsFiles)
    # Neither certificates nor the absence of TLS are objected to.
    insecure: bool = False
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    proxies: Proxies = field(default_factory=Proxies)


def origin_of(url: httpx.URL) -> tuple[str, str, int | None]:
    """What credentials are for (RFC 6454): scheme, host, port."""
    return url.scheme, url.host, url.port or _DEFAULT_PORTS.get(url.scheme)


class Transport:
    """The connections of one registry, and those to where it sends us."""

    def __init__(self, home: httpx.URL, options: TransportOptions) -> None:
        """`home` is the registry's own host: only there we say who we are by certificate."""
        self.retry = options.retry
        self._home = home
        self._options = options
        self._pools: dict[tuple[bool, str | None], httpx.AsyncHTTPTransport] = {}
        self._has_answered: set[str] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    async def send(self, call: Call, tries: Tries | None = None) -> Answer:
        """Send, follow redirects, and try again what may pass; `tries` may have failed before.

        Returns an answer of any status but redirects; one that may pass only after all tries.

        Raises:
            Unavailable: the host cannot be reached, or does not answer.
            BadAnswer: a redirect that cannot be followed.
        """
        tries = tries or Tries(self.retry)
        for _ in range(_MOST_REDIRECTS):
            answer = await self._send_with_tries(call, tries)
            if not call.follows(answer.status):
                return answer
            await answer.aclose()
            call = self._moved(call, answer)
        raise BadAnswer(call.what, f"{call.url.host}: more than {_MOST_REDIRECTS} redirects")

    async def send_once(self, call: Call) -> Answer:
        """Send a single request.

        Raises:
            ConnectionLost: no answer came; the same request may succeed.
            Unavailable: the host cannot be reached.
        """
        answer_s = self.retry.storing_s if call.stores else self.retry.silence_s
        steps = StepDeadlines(self.retry, answer_s)
        if (call.url.port or 0) > LAST_PORT:  # getaddrinfo would take it modulo 65536
            raise Unavailable(call.what, f"{call.url.netloc.decode()}: no such port")
        request = httpx.Request(
            call.method,
            call.url,
            headers=self._headers(call),
            extensions={"timeout": self._timeouts(), "trace": steps.trace},
        )
        request.stream = _Body(call.stream or _Pieces(call.body))
        began = trio.current_time()
        try:
            with steps.scope:
                response = await self._exchange(call, request)
        finally:
            await steps.close_proxy()
        if steps.scope.cancelled_caught:
            raise ConnectionLost(steps.late)
        taken_ms = (trio.current_time() - began) * 1000
        log.debug("%s: %d, %.0f ms", _described(call), response.status_code, taken_ms)
        self._has_answered.add(call.url.host)
        response.request = request
        return Answer(response, call.url, self.retry)

    async def _exchange(self, call: Call, request: httpx.Request) -> httpx.Response:
        try:
            return await self._pool_for(call).handle_async_request(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise self._unreached(call, error) from error
        except httpx.WriteTimeout as error:
            raise ConnectionLost(f"it took nothing for {self.retry.silence_s:g} s") from error
        except httpx.TransportError as error:
            raise ConnectionLost(str(error) or type(error).__name__) from error
        except UnicodeError as error:  # a label of the host has more than 63 characters
            raise Unavailable(call.what, f"{call.url.host}: no such host") from error
        except Exception as error:
            if not _is_of_socks(error):
                raise
            why = f"{call.url.host}: its SOCKS proxy's answer makes no sense"
            raise Unavailable(call.what, why) from error

    async def _send_with_tries(self, call: Call, tries: Tries) -> Answer:
        while True:
            try:
                answer = await self.send_once(call)
            except ConnectionLost as lost:
                await tries.wait_after(Unavailable(call.what, f"{call.url.host}: {lost}"))
                continue
            if answer.status not in _PASSING or tries.is_last:
                return answer
            least_s = await self._wanted_delay_s(call, answer)
            why = f"{call.url.host} answered {answer.status}"
            await tries.wait_after(Unavailable(call.what, why), least_s)

    async def _wanted_delay_s(self, call: Call, answer: Answer) -> float:
        """Close an answer that may pass; return how long it asks to wait.

        Raises:
            Unavailable: too long.
        """
        asked_s = parse_retry_after(answer.headers.get("retry-after", "")) or 0
        if asked_s > self.retry.longest_retry_after_s:
            async with answer:
                refusal = await answer.refusal(call.what)
            raise Unavailable(call.what, f"{refusal.strerror}; it asks to wait for {asked_s:.0f} s")
        await answer.aclose()
        return asked_s

    def _moved(self, call: Call, answer: Answer) -> Call:
        """Return the call that follows a redirect."""
        url = self.resolve(call.url, answer.headers.get("location", ""), call.what)
        # Once dropped, the credentials stay dropped: who sends us away and back might be anyone.
        same_origin = origin_of(url) == origin_of(call.url)
        return replace(call, url=url, authorization=call.authorization if same_origin else None)

    def resolve(self, base: httpx.URL, location: str, what: str) -> httpx.URL:
        """Return where an answer from `base` sends us.

        Raises:
            BadAnswer: nowhere, or to where we do not go.
        """
        try:
            url = base.join(location)
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL()
        if not location or url.scheme not in _DEFAULT_PORTS or not url.host:
            raise BadAnswer(what, f"{base.host} sends us to {location!r}")
        if url.scheme == "http" and base.scheme == "https" and not self._options.insecure:
            raise BadAnswer(what, f"{base.host} sends us to {url.host} without TLS")
        return url

    def _headers(self, call: Call) -> dict[str, str]:
        # Anything but `identity` would make the bytes differ from what digests speak of.
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **call.headers}
        if call.authorization is not None:
            headers["Authorization"] = call.authorization
        if call.stream is not None:
            if "Content-Length" not in headers:
                headers["Transfer-Encoding"] = "chunked"
        elif call.body or call.method in {"POST", "PUT", "PATCH"}:
            headers["Content-Length"] = str(len(call.body))
        return headers

    def _timeouts(self) -> dict[str, float | None]:
        silence_s = self.retry.silence_s
        return {
            "connect": self.retry.connect_s,
            "read": None,  # StepDeadlines and Answer limit more than one read
            "write": silence_s,  # for one of `_pieces`
            "pool": None,  # waits for our own tasks
        }

    def _pool_for(self, call: Call) -> httpx.AsyncHTTPTransport:
        url = call.url
        is_home = (url.host, url.port) == (self._home.host, self._home.port)
        proxy = self._options.proxies.find(url)
        key = is_home, proxy
        if key not in self._pools:
            files = self._options.tls
            if not is_home:
                files = replace(files, identities=())
            self._pools[key] = httpx.AsyncHTTPTransport(
                verify=make_context(files, verify=not self._options.insecure),
                trust_env=False,
                limits=httpx.Limits(max_connections=_MOST_CONNECTIONS, keepalive_expiry=15),
                proxy=proxy,
            )
        return self._pools[key]

    def _unreached(self, call: Call, error: httpx.TransportError) -> Exception:
        """Return what a failed connection means.

        Who has never answered is not asked again: the name or the port is wrong. Who has answered
        before is coming back.
        """
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLError):
                return Unavailable(call.what, f"{call.url.host}: TLS: {_tls_reason(cause)}")
        why = _connection_reason(error, causes)
        if call.url.host in self._has_answered:
            return ConnectionLost(why)
        return Unavailable(call.what, f"{call.url.netloc.decode()}: {why}")


def _described(call: Call) -> str:
    """A request in words, without what may be secret: the query, a user, credentials."""
    url = f"{call.url.scheme}://{call.url.netloc.decode()}{call.url.path}"
    scheme = "" if call.authorization is None else f" ({call.authorization.partition(' ')[0]})"
    return f"{call.method} {url}{scheme}"


class _Body(httpx.AsyncByteStream):
    """What is sent. No async generator: one that is left in the middle would have to be closed."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


class _Pieces:
    """A body in pieces, each of which a slow network takes in time."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = self._body[self._position : self._position + PIECE_BYTES]
        if not piece:
            raise StopAsyncIteration
        self._position += len(piece)
        return piece


def _is_of_socks(error: Exception) -> bool:
    """Whether a SOCKS proxy answered in another protocol, which httpcore has no error for.

    It asserts what kind of answer it has, and lets socksio's own errors through.
    """
    return isinstance(error, AssertionError) or type(error).__module__.startswith("socksio")


def _causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        if isinstance(error, BaseExceptionGroup):
            found += [cause for inner in error.exceptions for cause in _causes(inner)]
        error = error.__cause__ or error.__context__
    return found


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate not trusted: {error.verify_message}"
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return "the server does not speak TLS (--tls-verify=false allows plain HTTP)"
    return (error.reason or str(error)).replace("_", " ").lower()


def _connection_reason(error: httpx.TransportError, causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return f"no such host: {cause.strerror}"
        if isinstance(cause, OSError) and cause.errno is not None:
            # trio's own begins with what it tried; the system's words are in errno.
            return f"cannot connect: {os.strerror(cause.errno)}"
    if isinstance(error, httpx.ConnectTimeout):
        return "no connection in time"
    return f"cannot connect: {error}"
