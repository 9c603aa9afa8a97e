"""Blobs to registries of all kinds: of one piece, of other statuses, without PATCH or HEAD."""

from __future__ import annotations

import io
import os
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.digest import digest_of
from overlayfs_py.registry.errors import RegistryError, Unavailable
from overlayfs_py.transfer.blob_upload import BlobUpload, Sent
from overlayfs_py.transfer.chunk_sources import FromBlob, SourceFailed
from tests.registry.clients import QUICK, client, name
from tests.registry.conftest import serve
from tests.support.http_server import HANG_UP, Reply, Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from overlayfs_py.image.digest import Digest
    from overlayfs_py.transfer.chunk_sources import ChunkSource
    from tests.registry.conftest import Serve

__all__ = ["serve"]

LARGE = os.urandom(12 << 20)
SMALL = b"small"


@dataclass
class Registry:
    """Takes one upload at a time; `trouble` may answer in its place."""

    trouble: Callable[[Request], Reply | None] = lambda _: None
    status: int = 202  # of what goes well
    in_pieces: bool = True
    data: bytearray = field(default_factory=bytearray)
    kept: list[Digest] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        if "/uploads/" in request.path:
            self.requests.append(request)
        return self.trouble(request) or self.answer(request)

    def answer(self, request: Request) -> Reply:
        here = {"Location": "/v2/team/app/blobs/uploads/1?state=x"}
        match request.method:
            case "POST":
                self.data.clear()
                return Reply(self.status, here)
            case "PATCH":
                if not self.in_pieces and (self.data or "content-range" in request.headers):
                    return Reply(400, body=b'{"errors":[{"code":"UNSUPPORTED"}]}')
                self.data += request.body
                told = {"Range": f"0-{len(self.data) - 1}"}
                return Reply(self.status, here | told if self.status == 202 else {})
            case "PUT":
                self.data += request.body
                digest = digest_of(bytes(self.data))
                assert request.path.endswith(f"digest={digest.replace(':', '%3A')}")
                self.kept.append(digest)
                return Reply(201 if self.status == 202 else self.status)
            case "GET" if "/uploads/" in request.path:
                return Reply(204, {"Range": f"0-{max(len(self.data) - 1, 0)}"})
            case "HEAD":
                return Reply(404)
        return Reply()

    def sent(self) -> list[str]:
        return [
            f"{r.method} {r.headers['content-range']}" if "content-range" in r.headers else r.method
            for r in self.requests
        ]


async def send(
    serve: Serve,
    registry: Registry,
    data: bytes = LARGE,
    want: Digest | None = None,
    on_bytes: Callable[[int], object] = lambda _: None,
) -> Sent | None:
    @asynccontextmanager
    async def source() -> AsyncIterator[ChunkSource]:
        yield FromBlob(io.BytesIO(data))

    async with client() as ours:
        target = ours.push_target(name(serve(registry).domain))
        return await BlobUpload(target, "the blob", on_bytes).send(source, want)


def once(method: str, reply: Callable[[Request], Reply]) -> Callable[[Request], Reply | None]:
    """Trouble with the first request of a method."""
    seen = 0

    def trouble(request: Request) -> Reply | None:
        nonlocal seen
        seen += request.method == method
        return reply(request) if request.method == method and seen == 1 else None

    return trouble


@pytest.mark.trio
async def test_a_large_blob_goes_as_one_stream(serve: Serve) -> None:
    registry, shown = Registry(in_pieces=False), list[int]()

    sent = await send(serve, registry, on_bytes=shown.append)

    assert sent == Sent(digest_of(LARGE), len(LARGE))
    assert registry.sent() == ["POST", "PATCH", "PUT"]
    assert registry.requests[1].body == LARGE
    assert shown == sorted(shown)
    assert shown[-1] == len(LARGE)


@pytest.mark.trio
async def test_a_small_blob_goes_with_the_end(serve: Serve) -> None:
    registry = Registry()

    assert await send(serve, registry, SMALL) == Sent(digest_of(SMALL), len(SMALL))
    assert registry.sent() == ["POST", "PUT"]


@pytest.mark.parametrize("status", [200, 201, 202, 204])
@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.trio
async def test_any_success_is_one(serve: Serve, status: int, data: bytes) -> None:
    registry = Registry(status=status)

    assert await send(serve, registry, data) == Sent(digest_of(data), len(data))
    assert registry.kept == [digest_of(data)]


@pytest.mark.parametrize("status", [405, 501])
@pytest.mark.trio
async def test_a_registry_without_patch_gets_one_put(serve: Serve, status: int) -> None:
    registry = Registry(trouble=lambda r: Reply(status) if r.method == "PATCH" else None)

    assert await send(serve, registry) == Sent(digest_of(LARGE), len(LARGE))
    assert registry.requests[-1].body == LARGE
    assert registry.requests[-1].headers["content-length"] == str(len(LARGE))


@pytest.mark.trio
async def test_a_proxy_with_a_limit_gets_pieces(serve: Serve) -> None:
    registry = Registry(trouble=lambda r: Reply(413) if len(r.body) > 8 << 20 else None)

    assert await send(serve, registry) == Sent(digest_of(LARGE), len(LARGE))
    assert registry.kept == [digest_of(LARGE)]
    pieces = [f"PATCH 0-{(8 << 20) - 1}", f"PATCH {8 << 20}-{len(LARGE) - 1}"]
    assert registry.sent()[-3:] == [*pieces, "PUT"]


@pytest.mark.parametrize("reply", [HANG_UP, Reply(500), Reply(429)], ids=["loss", "500", "429"])
@pytest.mark.trio
async def test_after_a_break_what_is_missing_goes_in_pieces(serve: Serve, reply: Reply) -> None:
    registry = Registry()

    def take_a_part(request: Request) -> Reply:
        registry.data += request.body[:1_000_000]
        return reply

    registry.trouble = once("PATCH", take_a_part)

    assert await send(serve, registry) == Sent(digest_of(LARGE), len(LARGE))
    assert registry.kept == [digest_of(LARGE)]
    assert registry.sent()[:4] == [
        "POST",
        "PATCH",
        "GET",
        f"PATCH 1000000-{1_000_000 + (8 << 20) - 1}",
    ]


@pytest.mark.trio
async def test_where_no_pieces_are_taken_a_break_begins_anew(serve: Serve) -> None:
    registry = Registry(in_pieces=False)

    def take_a_part(request: Request) -> Reply:
        registry.data += request.body[:1_000_000]
        return HANG_UP

    registry.trouble = once("PATCH", take_a_part)

    assert await send(serve, registry) == Sent(digest_of(LARGE), len(LARGE))
    assert registry.kept == [digest_of(LARGE)]
    assert [word.split()[0] for word in registry.sent()] == [
        *("POST", "PATCH", "GET", "PATCH"),
        *("POST", "PATCH", "PUT"),
    ]


@pytest.mark.parametrize("status", [404, 405, 400])
@pytest.mark.trio
async def test_where_a_registry_does_not_say_how_far_it_is_it_begins_anew(
    serve: Serve, status: int
) -> None:
    lost = once("PATCH", lambda _: HANG_UP)
    registry = Registry(
        trouble=lambda r: Reply(status) if r.method == "GET" and "/uploads/" in r.path else lost(r)
    )

    assert await send(serve, registry) == Sent(digest_of(LARGE), len(LARGE))
    assert registry.sent() == ["POST", "PATCH", "GET", "POST", "PATCH", "PUT"]


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.trio
async def test_an_upload_that_is_forgotten_begins_anew(serve: Serve, method: str) -> None:
    registry = Registry(trouble=once(method, lambda _: Reply(404)))

    assert await send(serve, registry) == Sent(digest_of(LARGE), len(LARGE))
    assert registry.sent().count("POST") == 2


@pytest.mark.trio
async def test_tries_from_the_start_come_to_an_end(serve: Serve) -> None:
    registry = Registry(trouble=lambda r: Reply(404) if r.method == "PUT" else None)

    with pytest.raises(Unavailable):
        await send(serve, registry, SMALL)
    assert registry.sent().count("POST") == QUICK.tries


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.trio
async def test_a_refusal_is_no_success(serve: Serve, status: int) -> None:
    registry = Registry(trouble=lambda r: Reply(status) if r.method == "PATCH" else None)

    with pytest.raises(RegistryError, match=f"answered {status}"):
        await send(serve, registry)
    assert registry.sent() == ["POST", "PATCH", "DELETE"]


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.trio
async def test_another_blob_than_the_one_that_is_wanted_does_not_stay(
    serve: Serve, data: bytes
) -> None:
    registry = Registry()

    assert await send(serve, registry, data, want=digest_of(b"another")) is None
    assert registry.kept == []
    assert registry.sent()[-1] == "DELETE"


@pytest.mark.trio
async def test_a_source_that_fails_is_told_from_the_target(serve: Serve) -> None:
    registry = Registry()
    failure = Unavailable("the source", "gone")

    class Failing(FromBlob):
        async def next_chunk(self, size: int) -> bytes:
            if chunk := await super().next_chunk(size):
                return chunk
            raise SourceFailed(failure)

    @asynccontextmanager
    async def source() -> AsyncIterator[ChunkSource]:
        yield Failing(io.BytesIO(LARGE))

    async with client() as ours:
        target = ours.push_target(name(serve(registry).domain))
        with pytest.raises(SourceFailed, match="the source: gone"):
            await BlobUpload(target, "the blob", lambda _: None).send(source, None)
    assert registry.kept == []
    assert "DELETE" in registry.sent()


@pytest.mark.parametrize(
    "reply",
    [Reply(201), Reply(202, {"Location": "/x"}), Reply(400), Reply(403), Reply(405), Reply(500)],
    ids=["201", "202", "400", "403", "405", "500"],
)
@pytest.mark.trio
async def test_a_mount_that_is_not_done_is_no_error(serve: Serve, reply: Reply) -> None:
    server = serve(lambda r: reply if r.method == "POST" else Reply())

    async with client() as ours:
        target, source = (ours.push_target(name(server.domain, path)) for path in ("a", "b"))
        upload = BlobUpload(target, "the blob", lambda _: None)
        assert await upload.mount(digest_of(SMALL), source) is (reply.status == 201)


@pytest.mark.parametrize("status", [404, 405, 501])
@pytest.mark.trio
async def test_a_registry_without_head_has_nothing(serve: Serve, status: int) -> None:
    server = serve(lambda r: Reply(status) if r.method == "HEAD" else Reply())

    async with client() as ours:
        target = ours.push_target(name(server.domain))
        assert await target.find_blob(digest_of(SMALL)) is None
