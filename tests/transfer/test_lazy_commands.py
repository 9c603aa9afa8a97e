"""Commands on images that are still coming; packs that are none; registries that list referrers."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

import trio

from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import Digest, digest_of
from overlayfs_py.image.manifest import parse_image_manifest
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.packs.format import DIGEST_SIZE, FOOTER_SIZE, SectionId, parse_footer
from overlayfs_py.registry.client import ClientOptions, RegistryClient
from overlayfs_py.registry.referrers import put_referrer, tag_of
from overlayfs_py.registry.uploads import upload_bytes
from overlayfs_py.transfer import pack_artifact
from overlayfs_py.transfer.pack_artifact import PackBlob
from tests.support.http_server import HANG_UP, Reply, Request
from tests.support.oci_layout import digest
from tests.support.resealing import resealed
from tests.system.processes import run, wait_until
from tests.transfer.lazy_images import (
    BASE,
    NAME,
    TOP,
    Between,
    LazyImage,
    coming_pack,
    pulled,
    spoiled,
)
from tests.transfer.registries import Ours

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from overlayfs_py.registry.repository import Repository
    from tests.registry.conftest import Serve
    from tests.support.docker_registry import DockerRegistry


def dead(request: Request, answer: Callable[[], Reply]) -> Reply:
    return spoiled(request, answer, lambda _: HANG_UP)


def test_what_needs_all_of_an_image_waits_for_it_or_says_why_not(
    lazy_image: LazyImage, tmp_path: Path
) -> None:
    between = Between(lazy_image.registry.domain, dead)
    with pulled(lazy_image, tmp_path / "home", "--read-timeout", "1s", between=between) as (
        ours,
        s,
        _,
    ):
        name, root = f"{s.domain}/{NAME}", ours.root
        context = tmp_path / "context"
        context.mkdir()
        (context / "Dockerfile").write_text(f"FROM {name}\nCOPY Dockerfile /here\n")
        container = ours("create", "--root", root, name, "/bin/sh").strip()
        commands = {
            "save": ("save", "--root", root, "-o", tmp_path / "saved", name),
            "push": ("push", "--root", root, "--tls-verify=false", name, f"{s.domain}/other:1"),
            "commit": ("commit", "--root", root, container, "new:1"),
            "build": ("build", "--root", root, "-t", "built:1", context),
        }
        for command in ("save", "commit"):
            failed = ours.attempt(*commands[command])
            assert failed.returncode == 42, failed.stderr
            assert "has not come within 1 s" in failed.stderr.splitlines()[-1]
        assert not (tmp_path / "saved").exists()

        # Nobody deletes what an image has, whole or not.
        ours("store", "prune", "--root", root)
        assert coming_pack(ours).exists()

        between.trouble = lambda _, answer: answer()
        for words in commands.values():
            ours(*words)
        whole = lazy_image.whole
        whole(
            "save",
            "--root",
            whole.root,
            "-o",
            tmp_path / "whole",
            f"{lazy_image.registry.domain}/{NAME}",
        )
        assert layers_in(tmp_path / "saved") == layers_in(tmp_path / "whole")
        assert ours.store.image("new:1").layers[0].is_whole
        assert list(ours.store.check(deep=True)) == []


def layers_in(archive: Path) -> list[str]:
    listed = json.loads(run(["tar", "-xOf", archive, "manifest.json"]))
    found: list[str] = listed[0]["Layers"]
    return found


def test_an_image_that_is_coming_goes_with_what_has_come(
    lazy_image: LazyImage, tmp_path: Path
) -> None:
    between = Between(lazy_image.registry.domain, dead)
    with pulled(lazy_image, tmp_path / "home", between=between) as (ours, server, _):
        ours("rmi", "--root", ours.root, f"{server.domain}/{NAME}")

        assert not coming_pack(ours).exists()
        assert not coming_pack(ours, TOP.tar).exists()


def in_repository(domain: str, path: str, work: Callable[[Repository], object]) -> None:
    """Do something in a repository."""

    async def main() -> None:
        async with RegistryClient(ClientOptions(tls_verify=False)) as client:
            await work(client.push_target(parse_reference(f"{domain}/{path}")))  # type: ignore[misc]

    trio.run(main)


def test_a_pack_of_another_layer_never_becomes_the_layer(
    lazy_image: LazyImage, registry: DockerRegistry, tmp_path: Path
) -> None:
    """Whoever may push to a repository can say that any pack is of any layer."""
    source, target = f"{registry.domain}/{NAME}", f"{registry.domain}/lying/app:1"
    verify = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    run(["skopeo", "copy", "-q", *verify, f"docker://{source}", f"docker://{target}"])
    other = lazy_image.whole.store.image(source).layers[1].path
    with open(os.fsdecode(other), "rb") as file:
        lie = resealed(file.read(), _say_base)

    in_repository(registry.domain, "lying/app", lambda place: _put_lie(place, lie))
    (tmp_path / "home").mkdir()
    ours = Ours(tmp_path / "home")
    ours.pull(target, "--lazy")
    record = coming_pack(ours).with_name("layer.json")
    wait_until(lambda: not record.exists(), "the lie to be found out", seconds=30)

    assert not (ours.root / "layers" / digest(BASE.tar)[7:]).exists()
    ours.pull(target)
    assert ours.store.image(target).layers[0].is_whole
    assert list(ours.store.check(deep=True)) == []


def _say_base(index: bytearray, sections: dict[int, tuple[int, int]]) -> None:
    offset, length = sections[SectionId.ORIGIN]
    told = bytes(index[offset : offset + length])
    lie = told.replace(digest(TOP.tar).encode(), digest(BASE.tar).encode())
    assert lie != told
    index[offset : offset + length] = lie


async def _put_lie(place: Repository, lie: bytes) -> None:
    footer = parse_footer(lie[-FOOTER_SIZE:], len(lie))
    fetched = await place.fetch_manifest("1")
    subject = parse_image_manifest(fetched.raw, fetched.content_type)
    blob = Descriptor(pack_artifact.PACK_TYPE, digest_of(lie), len(lie))
    pack = Digest(f"sha256:{lie[-DIGEST_SIZE:].hex()}")
    told = PackBlob(Digest(digest(BASE.tar)), pack, footer.index_offset, blob)
    await upload_bytes(place, blob.digest, lie)
    await upload_bytes(place, digest_of(pack_artifact.EMPTY), pack_artifact.EMPTY)
    await put_referrer(place, pack_artifact.build(subject, [told], None))


class Listing:
    """Lists referrers, as registries do that know the API of 1.1."""

    def __init__(self) -> None:
        self.listed: dict[str, list[dict[str, object]]] = {}

    def __call__(self, request: Request, answer: Callable[[], Reply]) -> Reply:
        kind, _, name = request.path.rpartition("/")
        if kind.endswith("/referrers"):
            index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.listed.get(name, [])}
            return Reply(200, {"Content-Type": INDEX}, json.dumps(index).encode())
        reply = answer()
        if request.method == "PUT" and kind.endswith("/manifests"):
            told = json.loads(request.body)
            if "subject" in told and reply.status == 201:
                self._list(told, request.body)
                return Reply(201, {**reply.headers, "OCI-Subject": told["subject"]["digest"]})
        return reply

    def _list(self, told: dict[str, object], raw: bytes) -> None:
        subject = told["subject"]["digest"]  # type: ignore[index]
        described = {
            "mediaType": told["mediaType"],
            "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
            "size": len(raw),
            "artifactType": told["artifactType"],
        }
        self.listed.setdefault(subject, []).append(described)


INDEX = "application/vnd.oci.image.index.v1+json"


def test_a_registry_that_lists_referrers_gets_no_tag(
    lazy_image: LazyImage, registry: DockerRegistry, tmp_path: Path, serve: Serve
) -> None:
    listing = Listing()
    server = serve(Between(registry.domain, listing))
    name = f"{server.domain}/listed/app:1"
    whole = lazy_image.whole
    source = f"{registry.domain}/{NAME}"

    whole("push", "--root", whole.root, "--tls-verify=false", "--packs", source, name)

    (subject,) = listing.listed
    tagged = f"/v2/listed/app/manifests/{tag_of(Digest(subject))}"
    assert tagged not in [request.path for request in server.requests]
    (tmp_path / "home").mkdir()
    ours = Ours(tmp_path / "home")
    assert "Index complete" in ours.pull(name, "--lazy")
    wait_until(lambda: ours.store.image(name).coming == (), "all of it", seconds=30)
