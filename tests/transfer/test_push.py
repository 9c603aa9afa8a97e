"""What we push, as skopeo and podman find it; what moves, and what is said where it cannot."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from overlayfs_py.image.config import build_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.manifest import build_manifest
from overlayfs_py.image.media_types import OCI_CONFIG, OCI_LAYER, Kind
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.reference import parse_reference
from overlayfs_py.store.layer_writing import write_layer
from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.http_server import HANG_UP, Reply, Request
from tests.support.oci_layout import Layer, digest, layer_of, write_layout
from tests.system.processes import run
from tests.transfer.served_image import ServedImage
from tests.transfer.test_pull import BASE
from tests.transfer.test_pull import push as push_with_skopeo

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.registry.conftest import Serve
    from tests.transfer.registries import Ours

TOP = layer_of({"etc/top": b"top"})


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A second registry."""
    with docker_registry(tmp_path_factory.mktemp("registry") / "second") as running:
        yield running


@pytest.fixture
def pulled(ours: Ours, registry: DockerRegistry, tmp_path: Path) -> str:
    """An image that was pulled; its repository is the test's own."""
    write_layout(tmp_path / "oci", [BASE, TOP])
    path = f"push/{tmp_path.name.replace('_', '-').lower()}:1"
    name = push_with_skopeo(tmp_path / "oci", registry, path)
    ours.pull(name)
    return name


def push(ours: Ours, *words: str) -> list[str]:
    return ours("push", "--root", ours.root, "--tls-verify=false", *words).splitlines()


def fails_to_push(ours: Ours, *words: str) -> tuple[int, str]:
    done = ours.attempt("push", "--root", ours.root, "--tls-verify=false", *words)
    assert done.stderr.count("\n") == 1
    return done.returncode, done.stderr.removeprefix("overlayfs-py: ").strip()


def raw_manifest(name: str) -> bytes:
    """As skopeo gets it."""
    shown = run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"])
    return shown.encode()


def copied(name: str, directory: Path) -> dict[str, bytes]:
    """All blobs that skopeo gets, each checked by it."""
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--src-tls-verify=false"]
    run([*command, f"docker://{name}", f"dir:{directory}"])
    return {f"sha256:{file.name}": file.read_bytes() for file in directory.iterdir()}


def ident(layer: Layer) -> str:
    return digest(layer.tar)[7:19]


def own_image(ours: Ours, *layers: Layer, name: str) -> None:
    """An image as an import makes it: its manifest lists plain tars."""
    store = ours.store
    with store.add() as addition:
        stored = []
        for layer in layers:
            with addition.ingest_unknown_layer() as ingest:
                facts, _ = write_layer(ingest, [layer.tar])
                stored.append(addition.commit_layer(ingest, facts))
        config = build_config(Platform("linux", "amd64"), [each.diff_id for each in stored])
        manifest = build_manifest(
            Kind.OCI,
            Descriptor(OCI_CONFIG, config.image_id, len(config.raw)),
            [Descriptor(OCI_LAYER, each.diff_id, each.record.tar_size) for each in stored],
        )
        addition.put_blob(config.raw)
        addition.put_blob(manifest.raw)
        addition.add_image(manifest, references=[parse_reference(name)])


def test_a_pulled_image_keeps_its_digest_in_another_registry(
    ours: Ours, pulled: str, elsewhere: DockerRegistry, tmp_path: Path
) -> None:
    target = f"{elsewhere.domain}/push/kept:2"
    before = raw_manifest(pulled)

    lines = push(ours, pulled, target)

    assert lines[0] == f"The push refers to repository [{elsewhere.domain}/push/kept]"
    assert lines[1:3] == [f"{ident(BASE)}: Preparing", f"{ident(TOP)}: Preparing"]
    assert sorted(lines[3:5]) == sorted(f"{ident(each)}: Pushed" for each in (BASE, TOP))
    assert lines[5] == f"2: digest: {digest(before)} size: {len(before)}"
    assert raw_manifest(target) == before
    assert copied(target, tmp_path / "copy")[digest(BASE.blob)] == BASE.blob


def test_a_push_elsewhere_gives_no_row_without_a_name(
    ours: Ours, pulled: str, elsewhere: DockerRegistry
) -> None:
    push(ours, pulled, f"{elsewhere.domain}/push/rows:1")

    listed = ours("images", "--root", ours.root, "--format", "{{.Repository}}:{{.Tag}}").split()

    assert listed == [pulled]
    digests = ours("images", "--root", ours.root, "--digests", "--format", "{{.Digest}}").split()
    assert len(digests) == 1
    # It can be meant by it all the same.
    pushed = f"{elsewhere.domain}/push/rows@{digest(raw_manifest(pulled))}"
    assert ours("inspect", "--root", ours.root, "-f", "{{len .RepoTags}}", pushed) == "1\n"


def test_what_is_there_is_not_sent_again(ours: Ours, pulled: str, registry: DockerRegistry) -> None:
    target = pulled.replace(":1", ":2")
    before = len(registry.served())

    lines = push(ours, pulled, target)

    assert sorted(lines[3:5]) == sorted(
        f"{ident(each)}: Layer already exists" for each in (BASE, TOP)
    )
    sent = [line for line in registry.served()[before:] if "/uploads/" in line.path]
    assert sent == []


def test_a_neighbours_blobs_are_mounted(ours: Ours, pulled: str, registry: DockerRegistry) -> None:
    target = f"{registry.domain}/{pulled.partition('/')[2].replace('push/', 'mounted/')}"
    source = pulled.partition("/")[2].removesuffix(":1")

    lines = push(ours, pulled, target)

    assert sorted(lines[3:5]) == sorted(
        f"{ident(each)}: Mounted from {source}" for each in (BASE, TOP)
    )
    assert raw_manifest(target) == raw_manifest(pulled)


def test_podman_pulls_what_we_pushed(ours: Ours, pulled: str, elsewhere: DockerRegistry) -> None:
    target = f"{elsewhere.domain}/push/podman:1"
    push(ours, pulled, target)
    # podman refuses a run root of more than 50 characters.
    with tempfile.TemporaryDirectory() as directory:
        shown = pulled_by_podman(Path(directory), target)

    assert shown["Id"] == ours.store.image(pulled).image_id.removeprefix("sha256:")
    assert shown["Digest"] == ours.store.image(pulled).manifest.digest
    assert shown["RootFS"]["Layers"] == [digest(BASE.tar), digest(TOP.tar)]


def pulled_by_podman(directory: Path, name: str) -> dict[str, Any]:
    """What podman's inspect shows of an image that it pulls."""
    roots = ["--root", directory / "graph", "--runroot", directory / "run"]
    podman = ["podman", *roots, "--storage-driver=vfs", "--events-backend=none"]
    run([*podman, "pull", "-q", "--tls-verify=false", name])
    (shown,) = json.loads(run([*podman, "image", "inspect", name]))
    assert isinstance(shown, dict)
    return shown


def test_our_own_images_are_compressed_and_always_alike(
    ours: Ours, registry: DockerRegistry, elsewhere: DockerRegistry, tmp_path: Path
) -> None:
    own_image(ours, BASE, TOP, name="docker.io/team/own:1")
    targets = [f"{each.domain}/push/own:1" for each in (registry, elsewhere)]

    first, second = (push(ours, "team/own:1", target) for target in targets)

    assert first[-1] == second[-1]
    blobs = copied(targets[0], tmp_path / "copy")
    manifest = json.loads((tmp_path / "copy/manifest.json").read_text())
    kinds = {layer["mediaType"] for layer in manifest["layers"]}
    assert kinds == {"application/vnd.oci.image.layer.v1.tar+gzip"}
    assert manifest["config"]["digest"] == ours.store.image("team/own:1").image_id
    assert manifest["layers"][0]["size"] == len(blobs[manifest["layers"][0]["digest"]])
    again = push(ours, "team/own:1", targets[0])
    assert f"{ident(BASE)}: Layer already exists" in again


def test_what_we_pushed_we_pull(ours: Ours, registry: DockerRegistry, tmp_path: Path) -> None:
    own_image(ours, BASE, TOP, name="docker.io/team/round:1")
    target = f"{registry.domain}/push/round:1"
    push(ours, "team/round:1", target)
    before = ours.store.image("team/round:1").image_id
    shutil.rmtree(ours.root)

    ours.pull(target)

    assert ours.store.image(target).image_id == before
    assert list(ours.store.check()) == []


def test_a_layer_in_several_chunks_arrives(
    ours: Ours, elsewhere: DockerRegistry, tmp_path: Path
) -> None:
    large = layer_of({"noise": bytes(range(256)) * 4096 + (tmp_path.name.encode() * 9)})
    parts = [Layer(large.tar, large.blob)]
    own_image(ours, *parts, name="docker.io/team/large:1")

    push(ours, "team/large:1", f"{elsewhere.domain}/push/large:1")

    assert len(copied(f"{elsewhere.domain}/push/large:1", tmp_path / "copy")) >= 3


class TestWithoutSource:
    """The registry that an image came from is gone."""

    @pytest.fixture
    def orphan(self, ours: Ours, serve: Serve, tmp_path: Path) -> str:
        manifest = write_layout(tmp_path / "oci", [BASE])
        server = serve(ServedImage(tmp_path / "oci", manifest))
        ours.pull(f"{server.domain}/gone:1")
        server.handler = lambda _: Reply(404)
        return f"{server.domain}/gone:1"

    def test_the_push_says_so(self, ours: Ours, orphan: str, registry: DockerRegistry) -> None:
        target = f"{registry.domain}/push/orphan:1"

        done = ours.attempt("push", "--root", ours.root, "--tls-verify=false", orphan, target)

        line = done.stderr.splitlines()[-1]
        assert done.returncode == 44
        assert f"push/orphan@{digest(BASE.blob)}: it is neither there nor in " in line
        assert "--recompress" in line

    def test_it_may_be_compressed_anew(
        self, ours: Ours, orphan: str, registry: DockerRegistry
    ) -> None:
        target = f"{registry.domain}/push/anew:1"

        lines = push(ours, "--recompress", orphan, target)

        image = ours.store.image(orphan)
        assert image.manifest.digest not in lines[-1]
        manifest = json.loads(raw_manifest(target))
        assert manifest["config"]["digest"] == image.image_id


class TestHostileTargets:
    def serving(self, serve: Serve, trouble: dict[str, Reply]) -> str:
        def answer(request: Request) -> Reply:
            for key, reply in trouble.items():
                method, _, part = key.partition(" ")
                if request.method == method and part in request.path:
                    return reply
            match request.method:
                case "HEAD":
                    return Reply(404)
                case "POST":
                    return Reply(202, {"Location": "/v2/x/blobs/uploads/1"})
                case "PUT":
                    return Reply(201)
            return Reply()

        return f"{serve(answer).domain}/x:1"

    @pytest.fixture
    def own(self, ours: Ours) -> str:
        own_image(ours, TOP, name="docker.io/team/app:1")
        return "team/app:1"

    def test_one_that_keeps_another_manifest_is_found_out(
        self, ours: Ours, own: str, serve: Serve
    ) -> None:
        told = Reply(201, {"Docker-Content-Digest": digest(b"")})

        code, line = fails_to_push(ours, own, self.serving(serve, {"PUT /manifests/": told}))

        assert code == 30
        assert digest(b"") in line

    def test_one_that_denies_says_why(self, ours: Ours, own: str, serve: Serve) -> None:
        denied = Reply(403, body=b'{"errors":[{"code":"DENIED","message":"quota exceeded"}]}')

        code, line = fails_to_push(ours, own, self.serving(serve, {"POST /uploads/": denied}))

        assert code == 41
        assert "quota exceeded" in line

    def test_one_that_never_keeps_a_blob_ends_it(self, ours: Ours, own: str, serve: Serve) -> None:
        code, line = fails_to_push(ours, own, self.serving(serve, {"PUT /uploads/": HANG_UP}))

        assert code == 42
        assert line.startswith("127.0.0.1:")


def test_a_destination_with_a_digest_is_refused(ours: Ours, pulled: str) -> None:
    code, line = fails_to_push(ours, pulled, f"docker.io/team/app@{digest(b'')}")

    assert code == 2
    assert "a name with a tag" in line


def test_an_image_that_is_not_there_is_said(ours: Ours) -> None:
    assert fails_to_push(ours, "team/nothing:1") == (31, "team/nothing:1: no such image")


def test_an_image_goes_where_its_own_name_says_and_nowhere_else(ours: Ours) -> None:
    own_image(ours, TOP, name="localhost/team/app:1")

    code, line = fails_to_push(ours, "app:1")

    assert code == 2
    assert line == "app:1: the image is called localhost/team/app:1: say where to push to"


def test_where_an_image_was_pushed_to_it_can_be_pulled_from(
    ours: Ours, pulled: str, registry: DockerRegistry, elsewhere: DockerRegistry
) -> None:
    own_image(ours, TOP, name="localhost/team/made:1")
    made = f"{registry.domain}/push/made"
    copy = f"{elsewhere.domain}/push/copy"
    came_from = ours.store.image(pulled).repo_digests

    push(ours, "localhost/team/made:1", f"{made}:1")
    push(ours, pulled, f"{copy}:1")

    sent = f"{made}@{digest(raw_manifest(f'{made}:1'))}"
    image = ours.store.image("localhost/team/made:1")
    assert image.repo_digests == (sent,)
    assert ours.store.image(sent) == image
    kept = f"{copy}@{digest(raw_manifest(f'{copy}:1'))}"
    assert ours.store.image(pulled).repo_digests == (*came_from, kept)
    ours("rmi", "--root", ours.root, kept)
    assert ours.store.image(pulled).repo_digests == came_from
