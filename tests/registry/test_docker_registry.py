"""Everything once more with the real registry, and with skopeo on the other side."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import bcrypt
import pytest
import trio
import trustme

from overlayfs_py.image.digest import Digest, digest_of
from overlayfs_py.image.manifest import parse_image_manifest
from overlayfs_py.image.media_types import OCI_MANIFEST
from overlayfs_py.registry.auth_file import write_login
from overlayfs_py.registry.client import ClientOptions, RegistryClient
from overlayfs_py.registry.credentials import AuthFiles
from overlayfs_py.registry.errors import Denied, NotThere, RegistryError
from overlayfs_py.registry.uploads import Upload, put_manifest, upload_bytes
from tests.registry.clients import QUICK, SECRET, USER, blob, client, login, name
from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.http_server import http_server
from tests.support.oci_layout import layer_of, write_layout
from tests.support.token_server import ISSUER, SERVICE, TokenServer
from tests.system.processes import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = bytes(range(256)) * 4096


@pytest.fixture(scope="session")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("image") / "oci"
    write_layout(directory, [layer_of({"a": DATA}), layer_of({"b": b"b"})])
    return directory


def skopeo(*words: str | Path) -> str:
    return run(["skopeo", "--insecure-policy", *words])


def push_with_skopeo(layout: Path, domain: str, path: str, *options: str | Path) -> None:
    skopeo("copy", *options, f"oci:{layout}:latest", f"docker://{domain}/{path}:1")


@pytest.mark.trio
async def test_what_skopeo_pushed_we_read(registry: DockerRegistry, layout: Path) -> None:
    push_with_skopeo(layout, registry.domain, "lib/read", "--dest-tls-verify=false")

    async with client() as ours:
        repository = ours.push_target(name(registry.domain, "lib/read"))
        found = await repository.fetch_manifest("1")
        manifest = parse_image_manifest(found.raw, found.content_type, found.digest)
        for layer in manifest.layers:
            assert digest_of(await repository.read_blob(layer, 1 << 20)) == layer.digest
        assert await repository.list_tags() == ["1"]
    (index,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert found.digest == index["digest"]


@pytest.mark.trio
async def test_what_we_pushed_skopeo_reads(registry: DockerRegistry, tmp_path: Path) -> None:
    layout = tmp_path / "mine"
    digest = write_layout(layout, [layer_of({"a": DATA * 20})])
    blobs = {
        Digest(f"sha256:{p.name}"): p.read_bytes() for p in (layout / "blobs/sha256").iterdir()
    }

    async with client() as ours:
        repository = ours.push_target(name(registry.domain, "lib/written"))
        manifest = blobs.pop(Digest(digest))
        for each, data in blobs.items():
            await upload_bytes(repository, each, data)
        assert await put_manifest(repository, "1", manifest, OCI_MANIFEST) == digest

    skopeo(
        "copy",
        "--src-tls-verify=false",
        f"docker://{registry.domain}/lib/written:1",
        f"oci:{tmp_path / 'back'}:latest",
    )
    assert (tmp_path / "back/blobs/sha256" / digest[7:]).read_bytes() == manifest


@pytest.mark.trio
async def test_a_blob_goes_up_in_chunks_and_comes_down_from_the_middle(
    registry: DockerRegistry,
) -> None:
    async with client() as ours:
        repository = ours.push_target(name(registry.domain, "lib/chunks"))
        upload = Upload(repository, "it")
        await upload.begin()
        for start in range(0, len(DATA), 300_000):
            await upload.send(DATA[start : start + 300_000])
        await upload.finish(digest_of(DATA))
        assert await repository.find_blob(digest_of(DATA)) == len(DATA)
        stream = repository.open_blob(
            blob(DATA), start=1_000_000, state=hashlib.sha256(DATA[:1_000_000])
        )
        async with stream:
            received = b""
            while piece := await stream.receive_some():
                received += piece
            assert received == DATA[1_000_000:]
    # Its log has a line once the answer is through.
    with trio.fail_after(10):
        while not (  # noqa: ASYNC110 - a file sends no event
            fetched := [
                line.size
                for line in registry.served()
                if line.method == "GET" and digest_of(DATA) in line.path
            ]
        ):
            await trio.sleep(0.01)
    assert fetched[-1] == len(DATA) - 1_000_000


@pytest.mark.trio
async def test_a_blob_of_another_digest_is_refused(registry: DockerRegistry) -> None:
    async with client() as ours:
        repository = ours.push_target(name(registry.domain, "lib/wrong"))
        with pytest.raises(RegistryError, match="digest"):
            await upload_bytes(repository, digest_of(b"other"), DATA)


@pytest.mark.trio
async def test_a_blob_is_mounted_from_its_neighbour(registry: DockerRegistry) -> None:
    async with client() as ours:
        await upload_bytes(
            ours.push_target(name(registry.domain, "lib/one")), digest_of(DATA), DATA
        )
        other = ours.push_target(name(registry.domain, "lib/two"))
        assert await Upload(other, "it").begin(digest_of(DATA), "lib/one")
        assert await other.find_blob(digest_of(DATA)) == len(DATA)

        not_there = Upload(other, "it")
        assert not await not_there.begin(digest_of(b"x"), "lib/one")
        await not_there.abort()


@pytest.mark.trio
async def test_a_manifest_without_its_blobs_is_refused(registry: DockerRegistry) -> None:
    layer = {"mediaType": "x", "digest": digest_of(b"nowhere"), "size": 7}
    raw = json.dumps(
        {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": layer, "layers": [layer]}
    ).encode()

    async with client() as ours:
        with pytest.raises(RegistryError, match="blob unknown"):
            await put_manifest(
                ours.push_target(name(registry.domain, "lib/bad")), "1", raw, OCI_MANIFEST
            )


@pytest.mark.trio
async def test_what_is_not_there_is_said(registry: DockerRegistry) -> None:
    async with client() as ours:
        repository = ours.push_target(name(registry.domain, "lib/nowhere"))
        with pytest.raises(NotThere, match=r"127\.0\.0\.1: manifest unknown") as failure:
            await repository.fetch_manifest("1")
    assert failure.value.filename == f"{registry.domain}/lib/nowhere:1"


# Basic authentication, over TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def guarded(
    tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA
) -> Iterator[DockerRegistry]:
    """A registry that wants a login, over TLS by a private authority."""
    directory = tmp_path_factory.mktemp("guarded")
    htpasswd = directory / "htpasswd"
    htpasswd.write_bytes(USER.encode() + b":" + bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)))
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(directory / "cert.pem")
    issued.private_key_pem.write_to_path(directory / "key.pem")
    authority.cert_pem.write_to_path(directory / "ca.crt")
    with docker_registry(
        directory / "registry",
        auth={"htpasswd": {"realm": "r", "path": str(htpasswd)}},
        tls={"certificate": str(directory / "cert.pem"), "key": str(directory / "key.pem")},
    ) as running:
        yield running


def over_tls(guarded: DockerRegistry, auth_file: Path) -> RegistryClient:
    credentials = AuthFiles([auth_file])
    certificates = guarded.directory.parent
    return RegistryClient(ClientOptions(credentials, cert_dir=certificates, retry=QUICK))


@pytest.mark.trio
async def test_skopeos_login_is_ours(guarded: DockerRegistry, layout: Path, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    certificates = guarded.directory.parent
    where = ("--authfile", file, "--cert-dir", certificates)
    skopeo("login", *where, "-u", USER, "-p", SECRET, guarded.domain)
    push_with_skopeo(
        layout, guarded.domain, "team/app", "--authfile", file, "--dest-cert-dir", certificates
    )

    async with over_tls(guarded, file) as ours:
        await ours.push_target(name(guarded.domain)).fetch_manifest("1")
    async with over_tls(guarded, tmp_path / "none") as ours:
        with pytest.raises(Denied, match="wants a login"):
            await ours.push_target(name(guarded.domain)).fetch_manifest("1")


@pytest.mark.trio
async def test_our_login_is_skopeos(guarded: DockerRegistry, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    write_login(file, guarded.domain, USER, SECRET)
    async with over_tls(guarded, file) as ours:
        await upload_bytes(ours.push_target(name(guarded.domain)), digest_of(DATA), DATA)

    where = ("--authfile", file, "--cert-dir", guarded.directory.parent)
    assert skopeo("login", *where, "--get-login", guarded.domain).strip() == USER
    write_login(file, guarded.domain, USER, "wrong")
    async with over_tls(guarded, file) as ours:
        with pytest.raises(Denied, match=r"127\.0\.0\.1"):
            await ours.push_target(name(guarded.domain)).find_blob(digest_of(DATA))


# Tokens


@contextmanager
def with_tokens(directory: Path, tokens: TokenServer) -> Iterator[DockerRegistry]:
    (directory / "bundle.pem").write_bytes(tokens.bundle)
    with (
        http_server(tokens.handle) as server,
        docker_registry(
            directory / "registry",
            auth={
                "token": {
                    "realm": f"{server.url}/token",
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(directory / "bundle.pem"),
                }
            },
        ) as running,
    ):
        yield running


@pytest.mark.trio
async def test_tokens_open_what_they_are_for(tmp_path: Path) -> None:
    with with_tokens(tmp_path, TokenServer({USER: SECRET})) as registry:
        domain = registry.domain
        async with client(credentials=login(domain)) as ours:
            for path in ("public/app", "private/app"):
                await upload_bytes(ours.push_target(name(domain, path)), digest_of(DATA), DATA)
            other = ours.push_target(name(domain, "private/other"))
            assert await Upload(other, "it").begin(digest_of(DATA), "private/app")
        async with client() as ours:
            assert await ours.push_target(name(domain, "public/app")).find_blob(digest_of(DATA))
            with pytest.raises(Denied):
                await ours.push_target(name(domain, "private/app")).find_blob(digest_of(DATA))
            with pytest.raises(Denied, match="authentication required"):
                await upload_bytes(
                    ours.push_target(name(domain, "public/app")), digest_of(DATA), DATA
                )
        async with client(credentials=login(domain, "wrong")) as ours:
            with pytest.raises(Denied, match="incorrect username or password"):
                await ours.push_target(name(domain, "public/app")).find_blob(digest_of(DATA))
