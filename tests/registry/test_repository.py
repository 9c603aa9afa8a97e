from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.digest import DigestMismatch, digest_of
from overlayfs_py.image.media_types import OCI_MANIFEST
from overlayfs_py.registry.errors import BadAnswer, NotThere
from tests.registry.clients import client, name
from tests.support.http_server import HANG_UP, Reply, Request

if TYPE_CHECKING:
    from tests.registry.conftest import Serve

RAW = b'{"schemaVersion":2}'
DIGEST = digest_of(RAW)


@pytest.mark.trio
async def test_a_manifest_comes_with_its_bytes_and_type(serve: Serve) -> None:
    server = serve(lambda _: Reply(200, {"Content-Type": OCI_MANIFEST}, RAW))

    async with client() as ours:
        found = await ours.push_target(name(server.domain)).fetch_manifest("1")
    assert (found.raw, found.digest, found.content_type) == (RAW, DIGEST, OCI_MANIFEST)
    accepted = server.requests[-1].headers["accept"].split(", ")
    assert len([kind for kind in accepted if "manifest" in kind or "index" in kind]) == 4


@pytest.mark.trio
async def test_a_manifest_has_to_be_the_one_that_was_asked_for(serve: Serve) -> None:
    server = serve(lambda _: Reply(body=RAW))

    async with client() as ours:
        repository = ours.push_target(name(server.domain))
        assert (await repository.fetch_manifest(DIGEST)).digest == DIGEST
        with pytest.raises(DigestMismatch) as failure:
            await repository.fetch_manifest(digest_of(b"other"))
    assert failure.value.exit_code == 30


@pytest.mark.trio
async def test_a_manifest_has_to_be_the_one_that_the_registry_says(serve: Serve) -> None:
    server = serve(lambda _: Reply(200, {"Docker-Content-Digest": digest_of(b"other")}, RAW))

    async with client() as ours:
        with pytest.raises(DigestMismatch):
            await ours.push_target(name(server.domain)).fetch_manifest("1")


@pytest.mark.trio
async def test_a_manifest_that_broke_off_is_asked_for_again(serve: Serve) -> None:
    cut = Reply(200, {"Content-Length": str(len(RAW))}, RAW[:5])
    answers = iter((HANG_UP, cut, Reply(body=RAW)))
    server = serve(lambda r: Reply() if r.path == "/v2/" else next(answers))

    async with client() as ours:
        assert (await ours.push_target(name(server.domain)).fetch_manifest("1")).raw == RAW


@pytest.mark.trio
async def test_a_manifest_of_many_megabytes_is_refused(serve: Serve) -> None:
    server = serve(lambda _: Reply(body=bytes(5 << 20)))

    async with client() as ours:
        with pytest.raises(BadAnswer, match="more than 4194304 bytes"):
            await ours.push_target(name(server.domain)).fetch_manifest("1")


@pytest.mark.trio
async def test_a_blob_is_found_with_its_size(serve: Serve) -> None:
    def answer(request: Request) -> Reply:
        has_it = request.path.endswith(DIGEST) or request.path == "/v2/"
        return Reply(200, {"Content-Length": "0"}) if has_it else Reply(404)

    server = serve(answer)

    async with client() as ours:
        repository = ours.push_target(name(server.domain))
        assert await repository.find_blob(DIGEST) == 0
        assert await repository.find_blob(digest_of(b"other")) is None


class TestTags:
    def pages(self, serve: Serve, **links: str) -> str:
        def answer(request: Request) -> Reply:
            page = request.path.rpartition("=")[2]
            headers = {"Link": links[page]} if page in links else {}
            return Reply(200, headers, b'{"name": "team/app", "tags": ["%s"]}' % page.encode())

        self.server = serve(answer)
        return self.server.domain

    @pytest.mark.trio
    async def test_all_pages_are_read(self, serve: Serve) -> None:
        second = '</v2/team/app/tags/list?n=1000&last=b>; rel="next"'
        third = '<https://x/>; rel="prev", <list?last=c>; rel=next'
        domain = self.pages(serve, **{"1000": second, "b": third})

        async with client() as ours:
            assert await ours.push_target(name(domain)).list_tags() == ["1000", "b", "c"]

    @pytest.mark.trio
    async def test_pages_in_a_circle_are_an_error(self, serve: Serve) -> None:
        back = "<list?n=1000>; rel=next"
        domain = self.pages(serve, **{"1000": "<list?last=b>; rel=next", "b": back})

        async with client() as ours:
            with pytest.raises(BadAnswer, match="in a circle"):
                await ours.push_target(name(domain)).list_tags()

    @pytest.mark.parametrize("body", [b"[]", b'{"tags": [1]}', b"", b"\xff"])
    @pytest.mark.trio
    async def test_nonsense_is_an_error(self, serve: Serve, body: bytes) -> None:
        server = serve(lambda _: Reply(body=body))

        async with client() as ours:
            with pytest.raises(BadAnswer, match="no list of tags"):
                await ours.push_target(name(server.domain)).list_tags()

    @pytest.mark.trio
    async def test_no_tags_may_be_null(self, serve: Serve) -> None:
        server = serve(lambda _: Reply(body=b'{"tags": null}'))

        async with client() as ours:
            assert await ours.push_target(name(server.domain)).list_tags() == []

    @pytest.mark.trio
    async def test_a_repository_that_is_not_there_is_said(self, serve: Serve) -> None:
        server = serve(lambda r: Reply() if r.path == "/v2/" else Reply(404))

        async with client() as ours:
            with pytest.raises(NotThere):
                await ours.push_target(name(server.domain)).list_tags()
