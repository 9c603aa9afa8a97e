from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.builds.copying import CopyOptions, write_copy
from overlayfs_py.builds.failures import BadOption, SourceNotFound
from overlayfs_py.builds.remote_files import download, require_checksum
from overlayfs_py.builds.selection import select_all
from overlayfs_py.containers.image_files import ImageFiles
from overlayfs_py.registry.errors import BadAnswer, Unavailable
from overlayfs_py.registry.retrying import RetryPolicy
from overlayfs_py.registry.transport import TransportOptions
from overlayfs_py.store.store import Store
from tests.builds.trees import changes
from tests.support.http_server import Reply, http_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from overlayfs_py.store.additions import Addition
    from tests.support.http_server import HttpServer, Request

pytestmark = pytest.mark.trio

DATA = b"data" * 1000
DATED = {"Last-Modified": "Tue, 02 Jan 2024 03:04:05 GMT"}
OPTIONS = TransportOptions(retry=RetryPolicy(first_delay_s=0.01, tries=3))


def answer(request: Request) -> Reply:
    match request.path.partition("?")[0]:
        case "/moved":
            return Reply(302, {"Location": "/d/file.txt"})
        case "/missing":
            return Reply(404)
        case "/broken":
            return Reply(200, {"Content-Length": str(len(DATA) + 1)}, DATA)
        case _:
            return Reply(200, DATED, DATA)


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server(answer) as server:
        yield server


@pytest.fixture
def addition(tmp_path: Path) -> Iterator[Addition]:
    with Store.open(tmp_path / "store").add() as addition:
        yield addition


NAMES = {
    "/d/file.txt": "file.txt",
    "/d/file.txt?x=/y": "file.txt",
    "/d/a%20b": "a b",
    "/moved": "moved",
    "/": "__unnamed__",
    "/d/..": "__unnamed__",
}


@pytest.mark.parametrize("path", NAMES)
async def test_a_url_is_a_file(addition: Addition, server: HttpServer, path: str) -> None:
    context = await download(server.url + path, addition.scratch_file, OPTIONS)

    layer = write_copy(addition, select_all(context), (), "/to/", CopyOptions())
    context.close()

    told = f"f 600 0:0 {DATA.decode()}"
    assert changes((), layer) == {"/to": "d 755 0:0", f"/to/{NAMES[path]}": told}
    with ImageFiles([layer]) as files:
        found = files.find((b"to", NAMES[path].encode()))
        assert found.attributes.mtime_ns == 1_704_164_645 * 1_000_000_000


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
async def test_a_checksum_is_checked(
    addition: Addition, server: HttpServer, algorithm: str
) -> None:
    right = f"{algorithm}:{hashlib.new(algorithm, DATA).hexdigest()}"
    wrong = right[:-4] + "0000"
    get = partial(download, f"{server.url}/x", addition.scratch_file, OPTIONS)

    (await get(checksum=require_checksum(right))).close()
    with pytest.raises(BadOption) as raised:
        await get(checksum=wrong)

    assert str(raised.value) == f"--checksum={wrong}: {server.url}/x has {right}"


@pytest.mark.parametrize("text", ["md5:00", "sha256:00", "sha256:" + "G" * 64, "x"])
async def test_what_is_no_checksum(text: str) -> None:
    with pytest.raises(BadOption):
        require_checksum(text)


async def test_what_a_server_does_not_have(addition: Addition, server: HttpServer) -> None:
    with pytest.raises(SourceNotFound) as raised:
        await download(f"{server.url}/missing", addition.scratch_file, OPTIONS)

    assert str(raised.value) == f"{server.url}/missing: 127.0.0.1 answered 404 Not Found"


async def test_a_download_that_breaks_off_is_begun_anew(
    addition: Addition, server: HttpServer
) -> None:
    with pytest.raises(Unavailable):
        await download(f"{server.url}/broken", addition.scratch_file, OPTIONS)

    assert len(server.requests) == 3


async def test_a_download_has_a_bound(addition: Addition, server: HttpServer) -> None:
    with pytest.raises(BadAnswer) as raised:
        await download(f"{server.url}/x", addition.scratch_file, OPTIONS, largest=100)

    assert str(raised.value) == f"{server.url}/x: it has more than 100 bytes"
