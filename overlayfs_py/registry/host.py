"""One registry: how it is reached, what it accepts of us, and requests to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import trio

from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.authorization import Access, Authorization
from overlayfs_py.registry.challenges import parse_challenges
from overlayfs_py.registry.errors import Denied, Refused, RegistryError, Unavailable
from overlayfs_py.registry.httpx_library import httpx
from overlayfs_py.registry.retrying import Tries
from overlayfs_py.registry.transport import Call, Transport, origin_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from types import TracebackType
    from typing import Self

    from overlayfs_py.registry.answers import Answer
    from overlayfs_py.registry.challenges import Challenge
    from overlayfs_py.registry.credentials import CredentialSource
    from overlayfs_py.registry.transport import TransportOptions

# The Hub's registry has another name than the Hub.
_API_HOSTS = {"docker.io": "registry-1.docker.io"}


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to a registry; `path` counts from `/v2/`, or is a whole URL that it gave us."""

    method: str
    path: str | httpx.URL
    access: Access
    what: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None  # in place of `body`, for `send_once` alone
    stores: bool = False  # what is sent is to be stored, which takes time


def _home_of(domain: str) -> httpx.URL:
    """The URL of a registry.

    Raises:
        Refused: there can be none of this name.
    """
    try:
        home = httpx.URL(f"https://{_API_HOSTS.get(domain, domain)}")
        is_host = bool(home.host) and home.path == "/" and not home.userinfo
    except (httpx.InvalidURL, ValueError) as error:  # idna's are ValueErrors
        raise Refused(domain, "not a registry's host[:port]") from error
    if not is_host:
        raise Refused(domain, "not a registry's host[:port]")
    return home


class Host:
    """A registry by the name that references have. Requests may run side by side."""

    def __init__(self, domain: str, options: TransportOptions, source: CredentialSource) -> None:
        self.domain = domain
        self.retry = options.retry
        self._insecure = options.insecure
        self._home = _home_of(domain)
        self._transport = Transport(self._home, options)
        self._authorization = Authorization(domain, source, self._transport)
        self._at_the_door: list[Challenge] | None = None  # None: not asked yet
        self._scheme_lock = trio.Lock()
        # Whether plain HTTP has to do is not known before the first request.
        self._is_scheme_known = not self._insecure

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._transport.__aexit__(kind, error, trace)

    async def send(self, ask: Ask, tries: Tries | None = None) -> Answer:
        """Send, with credentials if the registry wants some; any status but 401 is an answer.

        Raises:
            Denied: it wants credentials that we do not have.
            Unavailable: it cannot be reached.
        """
        counted = tries or Tries(self.retry)
        return await self._send(ask, lambda call: self._transport.send(call, counted))

    async def send_once(self, ask: Ask) -> Answer:
        """The same for what must not be done twice.

        Raises:
            ConnectionLost: no answer came; whether it was done is not known.
        """
        return await self._send(ask, self._transport.send_once)

    async def _send(self, ask: Ask, exchange: Callable[[Call], Awaitable[Answer]]) -> Answer:
        await self._find_scheme(ask.what)
        url = self.url(ask.path)
        is_own = origin_of(url) == origin_of(self._home)
        header = await self._authorization.header(ask.access) if is_own else None
        call = Call(
            *(ask.method, url, ask.headers, ask.body, ask.stream, header),
            stores=ask.stores,
            what=ask.what,
        )
        answer = await exchange(call)
        if header is None and is_own and await self._hides(answer, ask.access):
            header = await self._answer_at_the_door(answer, ask)
        elif self._may_answer(answer):
            header = await self._answer_challenge(answer, ask, header)
        else:
            return answer
        if ask.stream is not None:
            raise ConnectionLost("the login expired on the way")  # the next request has a new one
        answer = await exchange(replace(call, authorization=header))
        if not self._may_answer(answer):
            return answer
        async with answer:
            refusal = await answer.refusal(ask.what)
        raise Denied(ask.what, str(refusal.strerror))

    async def read(self, ask: Ask, expected: int = 200) -> tuple[bytes, Answer]:
        """Send, and return the whole body of a small answer; one that breaks off is asked again.

        Raises:
            RegistryError: the status is another one, or no whole answer comes.
        """
        tries = Tries(self.retry)
        while True:
            async with await self.send(ask, tries) as answer:
                if answer.status != expected:
                    raise await answer.refusal(ask.what)
                try:
                    return await answer.read(ask.what), answer
                except ConnectionLost as lost:
                    failure = Unavailable(ask.what, f"{self.domain}: {lost}")
            await tries.wait_after(failure)

    async def check(self, what: str) -> None:
        """Return if this is a registry that lets us in.

        Raises:
            RegistryError: it is not, or does not.
        """
        await self.read(Ask("GET", "", Access(""), what))

    def url(self, path: str | httpx.URL) -> httpx.URL:
        if isinstance(path, httpx.URL):
            return path
        return self._home.join(f"/v2/{path}")

    def resolve(self, base: httpx.URL, location: str, what: str) -> httpx.URL:
        """Return the URL that the registry sends us to, from `base`.

        Raises:
            BadAnswer: it is none, or not one to go to.
        """
        return self._transport.resolve(base, location, what)

    def _may_answer(self, answer: Answer) -> bool:
        """Whether the registry itself asks who we are; where it sends us, nobody is told."""
        return answer.status == 401 and origin_of(answer.url) == origin_of(self._home)

    async def _hides(self, answer: Answer, access: Access) -> bool:
        """Whether the registry may say to strangers that there is nothing here.

        Some do, and ask who we are at `/v2/` alone.
        """
        if answer.status not in {403, 404} or not await self._authorization.has_login(access):
            return False
        if self._at_the_door is None:
            self._at_the_door = await self._ask_at_the_door()
        return bool(self._at_the_door)

    async def _ask_at_the_door(self) -> list[Challenge]:
        """What the registry asks for at `/v2/`."""
        url = self.url("")
        async with await self._transport.send(Call("GET", url, what=self.domain)) as answer:
            if not self._may_answer(answer):
                return []
            return parse_challenges(answer.headers.get_list("www-authenticate"))

    async def _answer_at_the_door(self, answer: Answer, ask: Ask) -> str:
        await answer.aclose()
        challenges = self._at_the_door or []
        return await self._authorization.answer(challenges, self.url(""), ask.access, None)

    async def _answer_challenge(self, answer: Answer, ask: Ask, refused: str | None) -> str:
        challenges = parse_challenges(answer.headers.get_list("www-authenticate"))
        if not challenges:
            if self._at_the_door is None:
                self._at_the_door = await self._ask_at_the_door()
            return await self._answer_at_the_door(answer, ask)
        await answer.aclose()
        return await self._authorization.answer(challenges, answer.url, ask.access, refused)

    async def _find_scheme(self, what: str) -> None:
        """Find out whether an insecure registry speaks TLS at all."""
        async with self._scheme_lock:
            if self._is_scheme_known:
                return
            try:
                await self._ping(self._home, what)
            except RegistryError:
                plain = self._home.copy_with(scheme="http")
                await self._ping(plain, what)
                self._home = plain
            self._is_scheme_known = True

    async def _ping(self, home: httpx.URL, what: str) -> None:
        call = Call("GET", home.join("/v2/"), what=what)
        try:
            answer = await self._transport.send_once(call)
        except ConnectionLost as lost:
            raise Unavailable(what, f"{home.host}: {lost}") from lost
        await answer.aclose()
