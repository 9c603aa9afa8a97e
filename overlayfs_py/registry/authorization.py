"""Answering a registry's challenge: basic, or a token that a server sells for our credentials.

Sources: RFC 9110, 11; RFC 7617; distribution's "Token Authentication Specification" and "Oauth2
Token Authentication".
"""

from __future__ import annotations

import base64
import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec
import trio

from overlayfs_py.image.go_decoding import decode_json
from overlayfs_py.registry.answers import ConnectionLost
from overlayfs_py.registry.credentials import IdentityToken, Password
from overlayfs_py.registry.errors import BadAnswer, Denied, Unavailable
from overlayfs_py.registry.httpx_library import httpx
from overlayfs_py.registry.transport import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.registry.challenges import Challenge
    from overlayfs_py.registry.credentials import Credentials, CredentialSource
    from overlayfs_py.registry.transport import Transport

log = logging.getLogger(__name__)

_CLIENT = "overlayfs-py"
_SHORTEST_LIFE_S = 60  # what the specification says of a token without `expires_in`
_LONGEST_LIFE_S = 24 * 3600
_LARGEST_TOKEN = 1 << 20


@dataclass(frozen=True, slots=True)
class Access:
    """What a request needs: actions on a repository, and of another one for a mount."""

    path: str  # the repository; empty for the registry itself
    actions: str = "pull"  # or "pull,push"
    mounted_from: str | None = None

    @property
    def scopes(self) -> tuple[str, ...]:
        if not self.path:
            return ()
        own = f"repository:{self.path}:{self.actions}"
        if self.mounted_from is None:
            return (own,)
        return own, f"repository:{self.mounted_from}:pull"


@dataclass(frozen=True, slots=True)
class _Token:
    header: str
    expires: float  # by trio's clock


@dataclass(frozen=True, slots=True)
class _TokenServer:
    realm: httpx.URL
    service: str | None


class _TokenForm(msgspec.Struct):
    token: str | None = None
    access_token: str | None = None
    expires_in: object = None  # what is no number of seconds says nothing


class Authorization:
    """What one registry accepts of us, kept between requests."""

    def __init__(self, domain: str, source: CredentialSource, transport: Transport) -> None:
        self._domain = domain
        self._source = source
        self._transport = transport
        # One request at a time asks for a token, the others use what it got.
        self._lock = trio.Lock()
        self._basic: dict[str, str] = {}  # by repository
        self._tokens: dict[tuple[str, ...], _Token] = {}  # by scopes
        self._server: _TokenServer | None = None

    async def header(self, access: Access) -> str | None:
        """Return the Authorization header to begin with; None where none is known to be wanted."""
        async with self._lock:
            if access.path in self._basic:
                return self._basic[access.path]
            if self._server is None:
                return None
            return await self._token(self._server, access, access.scopes)

    async def has_login(self, access: Access) -> bool:
        """Whether we have credentials for a repository."""
        return await self._source.find(self._domain, access.path) is not None

    async def answer(
        self, challenges: Sequence[Challenge], url: httpx.URL, access: Access, refused: str | None
    ) -> str:
        """Return another header than `refused`, for the challenges that came from `url`.

        Raises:
            Denied: we have nothing (else) to show.
        """
        async with self._lock:
            known = self._tokens.get(access.scopes)
            if known is not None and known.header != refused:
                return known.header  # another request was here first
            self._tokens.pop(access.scopes, None)
            for challenge in challenges:
                if challenge.scheme == "bearer":
                    return await self._answer_bearer(challenge, url, access)
            if any(challenge.scheme == "basic" for challenge in challenges):
                return await self._answer_basic(access, refused)
        schemes = ", ".join(challenge.scheme for challenge in challenges) or "no"
        raise Denied(self._what(access), f"{self._domain} wants {schemes} authentication")

    async def _answer_basic(self, access: Access, refused: str | None) -> str:
        credentials = await self._source.find(self._domain, access.path)
        if not isinstance(credentials, Password):
            raise Denied(self._what(access), f"{self._domain} wants a login")
        header = _basic_header(credentials)
        if header == refused:
            raise Denied(self._what(access), f"{self._domain} does not accept the login")
        self._basic[access.path] = header
        return header

    async def _answer_bearer(self, challenge: Challenge, url: httpx.URL, access: Access) -> str:
        self._server = self._token_server(challenge, url, access)
        scopes = dict.fromkeys(access.scopes)
        # The registry may call the repository otherwise than we do.
        scopes.update(dict.fromkeys(challenge.parameters.get("scope", "").split()))
        return await self._token(self._server, access, tuple(scopes))

    def _token_server(self, challenge: Challenge, url: httpx.URL, access: Access) -> _TokenServer:
        """Return who sells tokens.

        Credentials go there, so it must be as safe as the registry itself.
        """
        realm = challenge.parameters.get("realm", "")
        return _TokenServer(
            self._transport.resolve(url, realm, self._what(access)),
            challenge.parameters.get("service"),
        )

    async def _token(self, server: _TokenServer, access: Access, scopes: tuple[str, ...]) -> str:
        known = self._tokens.get(access.scopes)
        if known is not None and trio.current_time() < known.expires:
            return known.header
        credentials = await self._source.find(self._domain, access.path)
        token = await self._buy(server, access, scopes, credentials)
        self._tokens[access.scopes] = token
        return token.header

    async def _buy(
        self,
        server: _TokenServer,
        access: Access,
        scopes: tuple[str, ...],
        credentials: Credentials | None,
    ) -> _Token:
        what = self._what(access)
        call = _token_call(server, scopes, credentials, what)
        asked_at = trio.current_time()
        async with await self._transport.send(call) as answer:
            if answer.status != 200:
                refusal = await answer.refusal(what)
                if isinstance(refusal, Denied) and credentials is not None:
                    raise Denied(what, f"login not accepted: {refusal.strerror}")
                raise refusal
            try:
                body = await answer.read(what, _LARGEST_TOKEN)
            except ConnectionLost as lost:
                raise Unavailable(what, f"{answer.url.host}: {lost}") from lost
        return _parse_token(body, asked_at, answer.url.host, what)

    def _what(self, access: Access) -> str:
        return f"{self._domain}/{access.path}" if access.path else self._domain


def _basic_header(credentials: Password) -> str:
    pair = f"{credentials.user}:{credentials.secret}".encode()
    return "Basic " + base64.b64encode(pair).decode()


def _token_call(
    server: _TokenServer, scopes: tuple[str, ...], credentials: Credentials | None, what: str
) -> Call:
    fields = [] if server.service is None else [("service", server.service)]
    if isinstance(credentials, IdentityToken):
        # OAuth2 wants all scopes in one field.
        fields += [("grant_type", "refresh_token"), ("refresh_token", credentials.token)]
        fields += [("client_id", _CLIENT), ("scope", " ".join(scopes))]
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return Call("POST", server.realm, form, urlencode(fields).encode(), what=what)
    fields += [("scope", scope) for scope in scopes]
    authorization = None
    if credentials is not None:
        fields += [("account", credentials.user)]
        authorization = _basic_header(credentials)
    url = server.realm.copy_merge_params(httpx.QueryParams(urlencode(fields)))
    return Call("GET", url, authorization=authorization, what=what)


def _parse_token(body: bytes, asked_at: float, host: str, what: str) -> _Token:
    try:
        form = decode_json(body, _TokenForm)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadAnswer(what, f"{host}: no token in its answer: {error}") from error
    token = form.token or form.access_token
    if not token or not token.isascii() or not token.isprintable():
        raise BadAnswer(what, f"{host}: no token in its answer")
    # Its clock starts before ours, and a request takes its time to get there.
    return _Token(f"Bearer {token}", asked_at + _life_s(form.expires_in) * 0.9)


def _life_s(told: object) -> float:
    """How long a token is good for; some servers write the number as a text."""
    if isinstance(told, str) and told.isascii() and told.isdecimal() and len(told) < 20:
        told = int(told)
    if isinstance(told, bool) or not isinstance(told, int | float) or not 0 < told < math.inf:
        return _SHORTEST_LIFE_S
    return min(told, _LONGEST_LIFE_S)
