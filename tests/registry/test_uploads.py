"""Uploads against a registry that fails at the worst moment; the real one has its own tests."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.digest import Digest, DigestMismatch, digest_of
from overlayfs_py.registry import uploads
from overlayfs_py.registry.errors import Denied, Refused, RegistryError, Unavailable
from overlayfs_py.registry.repository import Repository
from overlayfs_py.registry.uploads import Upload, UploadLost, put_manifest, upload_bytes
from tests.registry.clients import QUICK, client, login, name
from tests.support.http_server import HANG_UP, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.registry.conftest import Serve

DATA = bytes(range(256)) * 10
PIECES = (DATA[:1000], DATA[1000:2000], DATA[2000:])


class Uploads:
    """A registry for one upload at a time. `trouble` may answer in its place."""

    def __init__(self, serve: Serve) -> None:
        self.kept: dict[str, bytes] = {}
        self.data = bytearray()
        self.begun = 0
        self.trouble: Callable[[Request], Reply | None] = lambda _: None
        self.server = serve(lambda request: self.trouble(request) or self.answer(request))

    def answer(self, request: Request) -> Reply:
        here = {"Location": f"/v2/team/app/blobs/uploads/{self.begun}?state=a%2Fb"}
        match request.method:
            case "POST":
                self.begun += 1
                self.data.clear()
                here = {"Location": f"/v2/team/app/blobs/uploads/{self.begun}?state=a%2Fb"}
                return Reply(202, here)
            case "PATCH":
                return self.append(request, here)
            case "PUT":
                self.append(request, here)
                digest = digest_of(bytes(self.data))
                assert request.path.endswith(f"?state=a%2Fb&digest={digest.replace(':', '%3A')}")
                self.kept[digest] = bytes(self.data)
                return Reply(201)
            case "GET" if "/uploads/" in request.path:
                return Reply(204, here | {"Range": f"0-{max(len(self.data) - 1, 0)}"})
            case "HEAD" if request.path.rpartition("/")[2] in self.kept:
                return Reply()
            case "HEAD":
                return Reply(404)
        return Reply()

    def append(self, request: Request, here: dict[str, str]) -> Reply:
        if "content-range" in request.headers:
            start, end = map(int, request.headers["content-range"].split("-"))
            if start != len(self.data):
                return Reply(416)
            assert end + 1 - start == len(request.body)
        self.data += request.body
        return Reply(202, here | {"Range": f"0-{len(self.data) - 1}"})


@pytest.fixture
def registry(serve: Serve) -> Uploads:
    return Uploads(serve)


def once(method: str, reply: Reply, *, nth: int = 1) -> Callable[[Request], Reply | None]:
    """Trouble with the n-th request of a method."""
    seen = 0

    def trouble(request: Request) -> Reply | None:
        nonlocal seen
        seen += request.method == method
        return reply if request.method == method and seen == nth else None

    return trouble


async def upload(registry: Uploads) -> None:
    async with client(credentials=login(registry.server.domain)) as ours:
        repository = ours.push_target(name(registry.server.domain))
        going = Upload(repository, "the blob")
        assert not await going.begin()
        for piece in PIECES:
            await going.send(piece)
        await going.finish(digest_of(DATA))


def patches(registry: Uploads) -> list[str]:
    return [r.headers["content-range"] for r in registry.server.requests if r.method == "PATCH"]


@pytest.mark.trio
async def test_chunks_arrive_in_order(registry: Uploads) -> None:
    await upload(registry)

    assert registry.kept == {digest_of(DATA): DATA}
    assert patches(registry) == ["0-999", "1000-1999", "2000-2559"]


@pytest.mark.parametrize("reply", [HANG_UP, Reply(500), Reply(429)], ids=["loss", "500", "429"])
@pytest.mark.trio
async def test_a_chunk_that_did_not_arrive_is_sent_again(registry: Uploads, reply: Reply) -> None:
    registry.trouble = once("PATCH", reply, nth=2)

    await upload(registry)

    assert registry.kept == {digest_of(DATA): DATA}
    assert patches(registry) == ["0-999", "1000-1999", "1000-1999", "2000-2559"]


@pytest.mark.parametrize("arrived", [300, 1000])
@pytest.mark.trio
async def test_of_a_chunk_only_what_did_not_arrive_is_sent_again(
    registry: Uploads, arrived: int
) -> None:
    def cut(request: Request) -> Reply | None:
        if request.method == "PATCH" and len(registry.data) == 1000:
            registry.data += request.body[:arrived]
            return HANG_UP
        return None

    registry.trouble = cut

    await upload(registry)

    assert registry.kept == {digest_of(DATA): DATA}
    again = [] if arrived == 1000 else ["1300-1999"]
    assert patches(registry) == ["0-999", "1000-1999", *again, "2000-2559"]


@pytest.mark.trio
async def test_an_upload_that_was_forgotten_is_lost(registry: Uploads) -> None:
    registry.trouble = lambda r: {"PATCH": HANG_UP, "GET": Reply(404)}.get(
        r.method if "/uploads/" in r.path else ""
    )

    with pytest.raises(UploadLost, match="has forgotten the upload"):
        await upload(registry)


@pytest.mark.trio
async def test_an_upload_that_went_backwards_is_lost(registry: Uploads) -> None:
    registry.trouble = lambda r: (
        HANG_UP
        if r.method == "PATCH" and registry.data
        else Reply(204, {"Range": "0-99"})
        if r.method == "GET" and "/uploads/" in r.path
        else None
    )

    with pytest.raises(UploadLost, match="has lost a part"):
        await upload(registry)


@pytest.mark.trio
async def test_an_upload_that_never_gets_on_ends(registry: Uploads) -> None:
    registry.trouble = lambda r: HANG_UP if r.method == "PATCH" else None

    with pytest.raises(Unavailable, match="breaks off at byte 0 again and again"):
        await upload(registry)
    assert len(patches(registry)) == QUICK.tries


@pytest.mark.trio
async def test_an_end_that_was_not_heard_is_looked_for(registry: Uploads) -> None:
    def finish_in_silence(request: Request) -> Reply | None:
        if request.method != "PUT":
            return None
        registry.answer(request)
        return HANG_UP

    registry.trouble = finish_in_silence

    await upload(registry)

    assert registry.kept == {digest_of(DATA): DATA}
    assert len([r for r in registry.server.requests if r.method == "PUT"]) == 1


@pytest.mark.trio
async def test_a_small_blob_is_begun_anew_when_it_is_lost(registry: Uploads) -> None:
    registry.trouble = once("PUT", HANG_UP)

    async with client() as ours:
        await upload_bytes(ours.push_target(name(registry.server.domain)), digest_of(DATA), DATA)

    assert registry.kept == {digest_of(DATA): DATA}
    assert registry.begun == 2


@pytest.mark.trio
async def test_a_registry_without_room_says_so(registry: Uploads) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"quota exceeded"}]}'
    registry.trouble = once("PATCH", Reply(403, body=body))

    with pytest.raises(Denied, match="quota exceeded"):
        await upload(registry)


@pytest.mark.trio
async def test_another_digest_than_ours_is_an_error(registry: Uploads) -> None:
    told = {"Docker-Content-Digest": digest_of(b"")}
    registry.trouble = once("PUT", Reply(201, told))

    with pytest.raises(DigestMismatch):
        await upload(registry)


@pytest.mark.trio
async def test_an_upload_elsewhere_gets_no_credentials(serve: Serve, registry: Uploads) -> None:
    elsewhere = Uploads(serve)
    elsewhere.begun = 1
    there = f"{elsewhere.server.url}/v2/team/app/blobs/uploads/1?state=a%2Fb"

    def home(request: Request) -> Reply | None:
        if "authorization" not in request.headers and request.path != "/v2/":
            return Reply(401, {"WWW-Authenticate": "Basic realm=r"})
        return Reply(202, {"Location": there}) if request.method == "POST" else None

    registry.trouble = home

    await upload(registry)

    assert elsewhere.kept == {digest_of(DATA): DATA}
    assert all("authorization" not in r.headers for r in elsewhere.server.requests)


@pytest.mark.trio
async def test_a_registry_may_want_larger_chunks(serve: Serve) -> None:
    sizes = iter(("16777216", "1", str(1 << 40)))
    server = serve(
        lambda r: (
            Reply(202, {"Location": "/x", "OCI-Chunk-Min-Length": next(sizes)})
            if r.method == "POST"
            else Reply()
        )
    )

    async with client() as ours:
        repository = ours.push_target(name(server.domain))
        chunk_bytes = []
        for _ in range(2):
            going = Upload(repository, "the blob")
            await going.begin()
            chunk_bytes.append(going.chunk_bytes)
        assert chunk_bytes == [16 << 20, uploads.CHUNK_BYTES]
        with pytest.raises(RegistryError, match="wants chunks of at least"):
            await Upload(repository, "the blob").begin()


@pytest.mark.trio
async def test_a_mount_names_blob_and_source_and_asks_for_both(serve: Serve) -> None:
    server = serve(lambda r: Reply(201) if r.method == "POST" else Reply())
    digest = digest_of(DATA)

    async with client() as ours:
        going = Upload(ours.push_target(name(server.domain)), "the blob")
        assert await going.begin(digest, "other/app")
    (path,) = server.paths("POST")
    assert path == f"/v2/team/app/blobs/uploads/?mount={digest}&from=other/app"


class TestManifests:
    RAW = b'{"schemaVersion":2}'

    async def put(self, serve: Serve, reply: Reply, tag: str | Digest = "1") -> Digest:
        self.server = serve(lambda r: reply if r.method == "PUT" else Reply())
        async with client() as ours:
            repository = ours.push_target(name(self.server.domain))
            assert isinstance(repository, Repository)
            return await put_manifest(repository, tag, self.RAW, "application/x")

    @pytest.mark.trio
    async def test_it_is_put_as_it_is(self, serve: Serve) -> None:
        assert await self.put(serve, Reply(201)) == digest_of(self.RAW)

        request = self.server.requests[-1]
        assert (request.path, request.body) == ("/v2/team/app/manifests/1", self.RAW)
        assert request.headers["content-type"] == "application/x"

    @pytest.mark.trio
    async def test_one_that_was_rewritten_is_an_error(self, serve: Serve) -> None:
        with pytest.raises(DigestMismatch):
            await self.put(serve, Reply(201, {"Docker-Content-Digest": digest_of(b"")}))

    @pytest.mark.trio
    async def test_a_refusal_gives_its_reason(self, serve: Serve) -> None:
        errors = [{"code": "MANIFEST_BLOB_UNKNOWN", "message": "blob unknown", "detail": {}}]
        reply = Reply(400, body=json.dumps({"errors": errors}).encode())

        with pytest.raises(Refused, match=re.escape("127.0.0.1: blob unknown")):
            await self.put(serve, reply)
