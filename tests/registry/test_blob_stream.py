"""A blob is what its descriptor says, or an error; a connection that breaks off is none."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING

import pytest
from msgspec import structs

from overlayfs_py.image.digest import DigestMismatch, digest_of
from overlayfs_py.registry.blob_stream import WrongSize
from overlayfs_py.registry.errors import BadAnswer, NotThere, RegistryError, Unavailable
from tests.registry.clients import QUICK, blob, client, login, name
from tests.support.http_server import HANG_UP, Handler, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.image.descriptor import Descriptor
    from tests.registry.conftest import Serve
    from tests.support.http_server import HttpServer

DATA = bytes(range(256)) * 1024
WANTED = blob(DATA)


def range_of(request: Request) -> int:
    return int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))


def part(data: bytes, start: int, *, cut: int | None = None) -> Reply:
    """An honest answer from `start` on, of which only `cut` bytes arrive."""
    headers = {"Content-Length": str(len(data) - start)}
    if start:
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    end = len(data) if cut is None else start + cut
    return Reply(206 if start else 200, headers, data[start:end])


def blobs(answer: Handler) -> Handler:
    return lambda request: Reply() if request.path == "/v2/" else answer(request)


async def fetch(server: HttpServer, wanted: Descriptor = WANTED, start: int = 0) -> bytes:
    async with client(credentials=login(server.domain)) as ours:
        repository = ours.push_target(name(server.domain))
        state = hashlib.sha256(DATA[:start])
        received = bytearray()
        async with repository.open_blob(wanted, start=start, state=state) as stream:
            while piece := await stream.receive_some():
                received += piece
        return bytes(received)


def asked(server: HttpServer) -> list[str]:
    return [r.headers.get("range", "") for r in server.requests if r.path != "/v2/"]


@pytest.mark.trio
async def test_a_blob_comes_whole(serve: Serve) -> None:
    server = serve(blobs(lambda _: part(DATA, 0)))

    assert await fetch(server) == DATA
    assert asked(server) == [""]


@pytest.mark.trio
async def test_a_blob_continues_where_it_was_left(serve: Serve) -> None:
    server = serve(blobs(lambda request: part(DATA, range_of(request))))

    assert await fetch(server, start=1000) == DATA[1000:]
    assert asked(server) == ["bytes=1000-"]


@pytest.mark.trio
async def test_a_blob_that_is_all_there_is_only_checked(serve: Serve) -> None:
    server = serve(blobs(lambda _: Reply(500)))

    assert await fetch(server, start=len(DATA)) == b""
    with pytest.raises(DigestMismatch):
        await fetch(server, structs.replace(WANTED, digest=digest_of(b"")), start=len(DATA))
    assert server.requests == []


@pytest.mark.trio
async def test_an_empty_blob_needs_no_request(serve: Serve) -> None:
    server = serve(blobs(lambda _: Reply(500)))

    assert await fetch(server, blob(b"")) == b""
    assert server.requests == []


@pytest.mark.trio
async def test_a_broken_connection_is_taken_up_again(serve: Serve) -> None:
    cuts = itertools.chain((50_000, 0, 100_000), itertools.repeat(None))
    server = serve(blobs(lambda request: part(DATA, range_of(request), cut=next(cuts))))

    assert await fetch(server) == DATA
    assert asked(server) == ["", "bytes=50000-", "bytes=50000-", "bytes=150000-"]


@pytest.mark.trio
async def test_a_server_without_ranges_starts_again_and_costs_no_byte_twice(serve: Serve) -> None:
    cuts = itertools.chain((50_000,), itertools.repeat(None))
    server = serve(blobs(lambda _: part(DATA, 0, cut=next(cuts))))

    assert await fetch(server) == DATA
    assert asked(server) == ["", "bytes=50000-"]


@pytest.mark.trio
async def test_a_connection_that_always_breaks_off_is_an_error(serve: Serve) -> None:
    server = serve(blobs(lambda request: part(DATA, range_of(request), cut=10)))

    with pytest.raises(Unavailable, match="broke off at byte 40: ") as failure:
        await fetch(server)
    assert failure.value.filename == f"{server.domain}/team/app@{WANTED.digest}"
    assert len(asked(server)) == QUICK.tries


@pytest.mark.trio
async def test_progress_earns_new_tries(serve: Serve) -> None:
    data = bytes(6 << 20)
    server = serve(blobs(lambda request: part(data, range_of(request), cut=1 << 20)))

    assert await fetch(server, blob(data)) == data
    assert len(asked(server)) == 6 > QUICK.tries


LIES = {
    "other bytes": (lambda _: part(b"x" * len(DATA), 0), DigestMismatch, "has digest"),
    "a shorter blob": (lambda _: part(DATA[:-1], 0), WrongSize, "and has 262143"),
    "a longer blob": (lambda _: part(DATA + b"x", 0), WrongSize, "and has 262145"),
    "shorter than said": (
        lambda _: Reply(body=iter([DATA[:-9]])),
        WrongSize,
        "ended 9 bytes before its 262144",
    ),
    "longer than said": (
        lambda _: Reply(body=iter([DATA, b"x"])),
        WrongSize,
        "has more than its 262144 bytes",
    ),
    "endless": (
        lambda _: Reply(body=itertools.repeat(b"x" * 65536)),
        WrongSize,
        "has more than its 262144 bytes",
    ),
}


@pytest.mark.parametrize(("answer", "error", "words"), LIES.values(), ids=LIES.keys())
@pytest.mark.trio
async def test_a_lie_is_an_error_that_ends_with_30(serve: Serve, answer, error, words) -> None:
    server = serve(blobs(answer))

    with pytest.raises(error, match=words) as failure:
        await fetch(server)
    assert failure.value.exit_code == 30
    assert failure.value.filename == f"{server.domain}/team/app@{WANTED.digest}"


WRONG_RANGES = {
    "from elsewhere": ({"Content-Range": "bytes 0-99/262144"}, BadAnswer, "another range"),
    "without saying which": ({}, BadAnswer, "another range"),
    "of another blob": (
        {"Content-Range": "bytes 1000-1999/2000", "Content-Length": "1000"},
        WrongSize,
        "and has 2000",
    ),
}


@pytest.mark.parametrize(("headers", "error", "words"), WRONG_RANGES.values(), ids=WRONG_RANGES)
@pytest.mark.trio
async def test_a_wrong_range_is_an_error(serve: Serve, headers, error, words) -> None:
    server = serve(blobs(lambda _: Reply(206, headers, b"x" * 1000)))

    with pytest.raises(error, match=words):
        await fetch(server, start=1000)


@pytest.mark.trio
async def test_a_range_past_the_end_is_a_blob_too_short(serve: Serve) -> None:
    server = serve(blobs(lambda _: Reply(416, {"Content-Range": "bytes */500"})))

    with pytest.raises(WrongSize, match="ended before its 262144 bytes"):
        await fetch(server, start=1000)


@pytest.mark.trio
async def test_a_blob_that_is_not_there_is_said(serve: Serve) -> None:
    body = b'{"errors":[{"code":"BLOB_UNKNOWN","message":"blob unknown to registry"}]}'
    server = serve(blobs(lambda _: Reply(404, body=body)))

    with pytest.raises(NotThere, match="blob unknown to registry"):
        await fetch(server)


@pytest.mark.trio
async def test_a_blob_may_come_from_elsewhere_without_our_login(serve: Serve) -> None:
    elsewhere = serve(lambda request: part(DATA, range_of(request)))

    def home(request: Request) -> Reply:
        if "authorization" not in request.headers:
            return Reply(401, {"WWW-Authenticate": "Basic realm=r"})
        return Reply(307, {"Location": f"{elsewhere.url}/signed?by=us"})

    server = serve(blobs(home))

    assert await fetch(server, start=1000) == DATA[1000:]
    assert [r.headers["range"] for r in elsewhere.requests] == ["bytes=1000-"]
    assert all("authorization" not in r.headers for r in elsewhere.requests)


@pytest.mark.trio
async def test_who_leaves_in_the_middle_leaves_nothing_behind(serve: Serve) -> None:
    def endless() -> Iterator[bytes]:
        while not server.stopping.is_set():
            yield bytes(65536)

    server = serve(blobs(lambda _: Reply(body=endless())))
    async with client() as ours:
        repository = ours.push_target(name(server.domain))
        async with repository.open_blob(blob(bytes(1 << 30))) as stream:
            assert await stream.receive_some()
        assert await repository.host.check("it") is None


@pytest.mark.trio
async def test_a_small_blob_is_read_whole_and_a_large_one_is_not(serve: Serve) -> None:
    server = serve(blobs(lambda _: part(DATA, 0)))

    async with client() as ours:
        repository = ours.push_target(name(server.domain))
        assert await repository.read_blob(WANTED, len(DATA)) == DATA
        with pytest.raises(BadAnswer, match="more than 1000 bytes"):
            await repository.read_blob(WANTED, 1000)
    assert len(asked(server)) == 1


@pytest.mark.trio
async def test_no_answer_at_all_is_an_error(serve: Serve) -> None:
    server = serve(blobs(lambda _: HANG_UP))

    with pytest.raises(RegistryError) as failure:
        await fetch(server)
    assert failure.value.exit_code == 42
