"""Who gets to see credentials and tokens, when they are asked for anew, and what is said."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
import trio

from overlayfs_py.registry.credentials import Given, IdentityToken
from overlayfs_py.registry.errors import BadAnswer, Denied, NotThere, RegistryError
from tests.registry.clients import SECRET, USER, client, login, name
from tests.support.http_server import Reply, Request

if TYPE_CHECKING:
    from tests.registry.conftest import Serve
    from tests.support.http_server import HttpServer

BASIC = "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()
NO_TOKENS = {
    "no JSON": b"<html>",
    "an empty object": b"{}",
    "an empty token": b'{"token": ""}',
    "a header in a token": b'{"token": "x\\r\\nHost: evil"}',
    "too large": b'{"token": "' + b"x" * (1 << 20) + b'"}',
}


class Registry:
    """Wants a token that its token server has sold and not yet declared expired."""

    def __init__(self, serve: Serve, **form: object) -> None:
        self.sold = 0
        self.form = form or {"token": None}
        self.tokens = serve(self.sell)
        self.home = serve(self.answer)

    def sell(self, _: Request) -> Reply:
        self.sold += 1
        form = {
            key: f"token-{self.sold}" if value is None else value
            for key, value in self.form.items()
        }
        return Reply(body=json.dumps(form).encode())

    def answer(self, request: Request) -> Reply:
        if request.path == "/v2/":
            return Reply()
        if request.headers.get("authorization") == f"Bearer token-{self.sold}":
            return Reply(body=b'{"tags": ["1"]}')
        challenge = f'Bearer realm="{self.tokens.url}/token?x=1",service="a b",scope="extra:a:b"'
        return Reply(401, {"WWW-Authenticate": challenge})


def queries(server: HttpServer) -> list[dict[str, list[str]]]:
    return [parse_qs(urlsplit(path).query) for path in server.paths()]


def wants_basic(request: Request) -> Reply:
    if request.path == "/v2/":
        return Reply()
    if request.headers.get("authorization") == BASIC:
        return Reply(body=b'{"tags": []}')
    return Reply(
        401, {"WWW-Authenticate": 'Basic realm="r"'}, b'{"errors":[{"code":"UNAUTHORIZED"}]}'
    )


@pytest.mark.trio
async def test_a_token_is_bought_for_our_scope_and_used_again(serve: Serve) -> None:
    registry = Registry(serve)

    async with client() as ours:
        repository = ours.push_target(name(registry.home.domain))
        for _ in range(3):
            assert await repository.list_tags() == ["1"]
    scopes = ["repository:team/app:pull", "extra:a:b"]
    assert queries(registry.tokens) == [{"x": ["1"], "service": ["a b"], "scope": scopes}]
    assert "authorization" not in registry.tokens.requests[0].headers


@pytest.mark.trio
async def test_each_repository_has_its_own_token(serve: Serve) -> None:
    registry = Registry(serve)

    async with client() as ours:
        for path in ("a", "b", "a"):
            await ours.push_target(name(registry.home.domain, path)).list_tags()
    assert [query["scope"][0] for query in queries(registry.tokens)][:2] == [
        "repository:a:pull",
        "repository:b:pull",
    ]


@pytest.mark.trio
async def test_credentials_go_to_the_token_server_alone(serve: Serve) -> None:
    registry = Registry(serve)

    async with client(credentials=login(registry.home.domain)) as ours:
        await ours.push_target(name(registry.home.domain)).list_tags()
    assert [request.headers["authorization"] for request in registry.tokens.requests] == [BASIC]
    assert queries(registry.tokens)[0]["account"] == [USER]
    assert BASIC not in [r.headers.get("authorization") for r in registry.home.requests]


@pytest.mark.trio
async def test_an_identity_token_is_exchanged(serve: Serve) -> None:
    registry = Registry(serve, access_token=None)
    credentials = Given(registry.home.domain, IdentityToken("refresh me"))

    async with client(credentials=credentials) as ours:
        await ours.push_target(name(registry.home.domain)).list_tags()
    (request,) = registry.tokens.requests
    assert request.method == "POST"
    assert parse_qs(request.body.decode()) == {
        "service": ["a b"],
        "grant_type": ["refresh_token"],
        "refresh_token": ["refresh me"],
        "client_id": ["overlayfs-py"],
        "scope": ["repository:team/app:pull extra:a:b"],
    }


@pytest.mark.trio
async def test_a_token_that_expired_early_is_bought_anew_once(serve: Serve) -> None:
    registry = Registry(serve)

    async with client() as ours:
        repository = ours.push_target(name(registry.home.domain))
        await repository.list_tags()
        registry.sold += 1  # nobody has that one
        await repository.list_tags()
    assert len(registry.tokens.requests) == 2


@pytest.mark.trio
async def test_a_token_that_is_never_good_enough_is_an_error(serve: Serve) -> None:
    registry = Registry(serve, token="wrong")

    async with client() as ours:
        with pytest.raises(Denied):
            await ours.push_target(name(registry.home.domain)).list_tags()
    assert len(registry.tokens.requests) == 1


@pytest.mark.trio
async def test_a_token_about_to_expire_is_not_used(serve: Serve) -> None:
    registry = Registry(serve, token=None, expires_in=0.001)

    async with client() as ours:
        repository = ours.push_target(name(registry.home.domain))
        await repository.list_tags()
        refused_before = _refused(registry)
        with trio.fail_after(5):
            await trio.sleep(0.002)
            await repository.list_tags()
        assert _refused(registry) == refused_before
    assert len(registry.tokens.requests) == 2


def _refused(registry: Registry) -> int:
    return sum(
        "authorization" not in request.headers and request.path != "/v2/"
        for request in registry.home.requests
    )


@pytest.mark.trio
async def test_requests_side_by_side_buy_one_token(serve: Serve) -> None:
    registry = Registry(serve)

    async with client() as ours:
        repository = ours.push_target(name(registry.home.domain))
        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(repository.list_tags)
    assert len(registry.tokens.requests) == 1


@pytest.mark.parametrize("body", NO_TOKENS.values(), ids=NO_TOKENS.keys())
@pytest.mark.trio
async def test_an_answer_without_a_token_is_an_error(serve: Serve, body: bytes) -> None:
    tokens = serve(lambda _: Reply(body=body))
    challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.url}/"'}
    home = serve(lambda request: Reply() if request.path == "/v2/" else Reply(401, challenge))

    async with client() as ours:
        with pytest.raises(BadAnswer) as failure:
            await ours.push_target(name(home.domain)).list_tags()
    assert failure.value.filename == f"{home.domain}/team/app"


@pytest.mark.trio
async def test_a_login_that_the_token_server_refuses_is_said(serve: Serve) -> None:
    registry = Registry(serve)
    registry.tokens.handler = lambda _: Reply(401, body=b'{"details": "who are you"}')

    async with client(credentials=login(registry.home.domain)) as ours:
        with pytest.raises(Denied, match=r"login not accepted: .*who are you") as failure:
            await ours.push_target(name(registry.home.domain)).list_tags()
    assert failure.value.exit_code == 41


@pytest.mark.trio
async def test_a_token_server_without_an_address_is_an_error(serve: Serve) -> None:
    challenge = {"WWW-Authenticate": 'Bearer service="x"'}
    home = serve(lambda request: Reply() if request.path == "/v2/" else Reply(401, challenge))

    async with client() as ours:
        with pytest.raises(BadAnswer, match="sends us to ''"):
            await ours.push_target(name(home.domain)).list_tags()


@pytest.mark.trio
async def test_basic_credentials_are_sent_when_asked_for_and_then_always(serve: Serve) -> None:
    home = serve(wants_basic)

    async with client(credentials=login(home.domain)) as ours:
        for _ in range(2):
            await ours.push_target(name(home.domain)).list_tags()
    sent = [r.headers.get("authorization") for r in home.requests if r.path != "/v2/"]
    assert sent == [None, BASIC, BASIC]


@pytest.mark.trio
async def test_a_wrong_login_is_tried_once(serve: Serve) -> None:
    home = serve(wants_basic)

    async with client(credentials=login(home.domain, "wrong")) as ours:
        with pytest.raises(Denied, match="unauthorized"):
            await ours.push_target(name(home.domain)).list_tags()
    assert len(home.requests) == 3


@pytest.mark.trio
async def test_who_has_no_login_is_told_to_have_one(serve: Serve) -> None:
    home = serve(wants_basic)

    async with client(credentials=login("other.example")) as ours:
        with pytest.raises(Denied, match="wants a login"):
            await ours.push_target(name(home.domain)).list_tags()
    assert all("authorization" not in request.headers for request in home.requests)


@pytest.mark.trio
async def test_an_unknown_way_in_is_named(serve: Serve) -> None:
    challenge = {"WWW-Authenticate": "Negotiate"}
    home = serve(lambda request: Reply() if request.path == "/v2/" else Reply(401, challenge))

    async with client() as ours:
        with pytest.raises(Denied, match="wants negotiate authentication"):
            await ours.push_target(name(home.domain)).list_tags()


@pytest.mark.trio
async def test_a_challenge_from_where_we_were_sent_gets_no_answer(serve: Serve) -> None:
    """Whoever serves blobs for a registry must not learn the login by asking for it."""
    elsewhere = serve(lambda _: Reply(401, {"WWW-Authenticate": 'Basic realm="r"'}))
    home = serve(
        lambda request: (
            Reply() if request.path == "/v2/" else Reply(307, {"Location": f"{elsewhere.url}/"})
        )
    )

    async with client(credentials=login(home.domain)) as ours:
        with pytest.raises(RegistryError):
            await ours.push_target(name(home.domain)).list_tags()
    assert len(elsewhere.requests) == 1
    assert all(
        "authorization" not in request.headers for request in home.requests + elsewhere.requests
    )


@pytest.mark.trio
@pytest.mark.parametrize("life", [0, -1, "300", "soon", [], {}, True, 10**30, 1e-9])
async def test_an_odd_lifetime_does_not_cost_the_token(serve: Serve, life: object) -> None:
    registry = Registry(serve, token=None, expires_in=life, issued_at="")

    async with client() as ours:
        assert await ours.push_target(name(registry.home.domain)).list_tags() == ["1"]


class Hidden:
    """Says to strangers that there is nothing, and asks who they are at `/v2/` alone."""

    def __init__(self, serve: Serve, status: int, challenge: str = "Basic realm=r") -> None:
        self.status, self.challenge, self.wanted = status, challenge, BASIC
        self.home = serve(self.answer)

    def answer(self, request: Request) -> Reply:
        if request.headers.get("authorization") == self.wanted:
            return Reply(body=b'{"tags": ["1"]}')
        if request.path == "/v2/":
            return Reply(401, {"WWW-Authenticate": self.challenge})
        return Reply(self.status, body=b"{}")


@pytest.mark.parametrize("status", [403, 404])
@pytest.mark.trio
async def test_with_a_login_nothing_is_believed_before_it_was_shown(
    serve: Serve, status: int
) -> None:
    registry = Hidden(serve, status)

    async with client(credentials=login(registry.home.domain)) as ours:
        for path in ("a", "a", "b"):
            repository = ours.push_target(name(registry.home.domain, path))
            assert await repository.list_tags() == ["1"]
    # Once to find plain HTTP, once as a question; a repository whose login is known needs none.
    assert registry.home.paths().count("/v2/") == 2
    assert registry.home.paths().count("/v2/a/tags/list?n=1000") == 3


@pytest.mark.trio
async def test_a_refusal_without_a_challenge_is_asked_for_at_the_door(serve: Serve) -> None:
    registry = Hidden(serve, 401)

    async with client(credentials=login(registry.home.domain)) as ours:
        assert await ours.push_target(name(registry.home.domain)).list_tags() == ["1"]


@pytest.mark.trio
async def test_a_hidden_repository_may_want_a_token(serve: Serve) -> None:
    tokens = serve(lambda _: Reply(body=b'{"token": "good"}'))
    registry = Hidden(serve, 404, f'Bearer realm="{tokens.url}/t",service=s')
    registry.wanted = "Bearer good"

    async with client(credentials=login(registry.home.domain)) as ours:
        assert await ours.push_target(name(registry.home.domain)).list_tags() == ["1"]
    assert queries(tokens)[0]["scope"] == ["repository:team/app:pull"]


@pytest.mark.trio
async def test_without_a_login_there_is_nothing_to_show(serve: Serve) -> None:
    registry = Hidden(serve, 404)

    async with client() as ours:
        with pytest.raises(NotThere):
            await ours.push_target(name(registry.home.domain)).list_tags()
    assert registry.home.paths().count("/v2/") == 1


@pytest.mark.trio
async def test_what_is_really_not_there_is_asked_for_once_more_at_most(serve: Serve) -> None:
    server = serve(lambda r: Reply() if r.path == "/v2/" else Reply(404))

    async with client(credentials=login(server.domain)) as ours:
        for _ in range(2):
            with pytest.raises(NotThere):
                await ours.push_target(name(server.domain)).list_tags()
    assert server.paths().count("/v2/") == 2
    assert all("authorization" not in request.headers for request in server.requests)
