"""What skopeo pushed to the real registry, pulled by our command."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from typing import TYPE_CHECKING

import pytest
from backports import zstd

from tests.support.oci_layout import Layer, digest, layer_of, tar_of, write_layout
from tests.system.processes import run, wait_until
from tests.transfer.registries import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.docker_registry import DockerRegistry
    from tests.transfer.registries import Ours

BASE = layer_of({"usr/base": random.Random(1).randbytes(300_000)})


def push(layout: Path, registry: DockerRegistry, path: str, *options: str) -> str:
    """Push with skopeo; returns the name to pull."""
    name = f"{registry.domain}/{path}"
    command = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", *options]
    run([*command, f"oci:{layout}:latest", f"docker://{name}"])
    return name


def ident(layer: Layer) -> str:
    return digest(layer.blob)[7:19]


def test_it_prints_dockers_lines(ours: Ours, registry: DockerRegistry, tmp_path: Path) -> None:
    pushed = write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "pull/lines:latest")

    lines = ours.pull(name.removesuffix(":latest")).splitlines()

    assert lines == [
        "Using default tag: latest",
        "latest: Pulling from pull/lines",
        f"{ident(BASE)}: Pulling fs layer",
        f"{ident(BASE)}: Verifying Checksum",
        f"{ident(BASE)}: Download complete",
        f"{ident(BASE)}: Pull complete",
        f"Digest: {pushed}",
        f"Status: Downloaded newer image for {name}",
        name,
    ]
    again = ours.pull(name).splitlines()
    assert again == [
        "latest: Pulling from pull/lines",
        f"{ident(BASE)}: Already exists",
        f"Digest: {pushed}",
        f"Status: Image is up to date for {name}",
        name,
    ]
    assert ours.pull(name, "-q") == f"{name}\n"


def test_the_store_has_what_was_pushed(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    top = layer_of({"etc/top": b"top", "etc/.wh.gone": b""})
    pushed = write_layout(tmp_path / "oci", [BASE, top])
    name = push(tmp_path / "oci", registry, "pull/store:1")

    ours.pull(name)

    image = ours.store.image(name)
    assert image.manifest.digest == pushed
    assert image.manifest.raw == (tmp_path / "oci/blobs/sha256" / pushed[7:]).read_bytes()
    assert [layer.diff_id for layer in image.layers] == [digest(BASE.tar), digest(top.tar)]
    assert image.layers[0].record.blobs[0].digest == digest(BASE.blob)
    assert image.layers[0].record.blobs[0].sources == (name.removesuffix(":1"),)
    assert image.repo_digests == (f"{name.removesuffix(':1')}@{pushed}",)
    assert list(ours.store.check()) == []
    assert os.listdir(ours.root / "partial") == []


def test_of_a_shared_base_nothing_moves(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    tops = [layer_of({"etc/top": text}) for text in (b"one", b"two")]
    names = []
    for number, top in enumerate(tops):
        write_layout(tmp_path / str(number), [BASE, top])
        names.append(push(tmp_path / str(number), registry, f"pull/shared{number}:1"))
    ours.pull(names[0])

    out = ours.pull(names[1])

    assert f"{ident(BASE)}: Already exists" in out
    assert f"{ident(tops[1])}: Pull complete" in out
    path = "/v2/pull/shared1/blobs/"
    wait_until(lambda: len(fetched(registry, path)) == 2, "the access log")
    config = ours.store.image(names[1]).manifest.config
    assert fetched(registry, path) == {
        digest(tops[1].blob): len(tops[1].blob),
        config.digest: config.size,
    }


def fetched(registry: DockerRegistry, path: str) -> dict[str, int]:
    """What was fetched below a path, in bytes by digest."""
    return {
        line.path.removeprefix(path): line.size
        for line in registry.served()
        if line.method == "GET" and line.path.startswith(path)
    }


def test_a_layer_that_is_there_twice_comes_once(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE, BASE])
    name = push(tmp_path / "oci", registry, "pull/twice:1")

    out = ours.pull(name)

    assert out.count("Pulling fs layer") == out.count("Pull complete") == 1
    assert len(ours.store.image(name).layers) == 2


LAYERS = {
    "zstd": lambda tar: Layer(
        tar, zstd.compress(tar), "application/vnd.oci.image.layer.v1.tar+zstd"
    ),
    "plain": lambda tar: Layer(tar, tar, "application/vnd.oci.image.layer.v1.tar"),
    "several gzip members": lambda tar: Layer(
        tar, gzip.compress(tar[:700]) + gzip.compress(tar[700:])
    ),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_layers_may_be_compressed_in_other_ways(
    ours: Ours, registry: DockerRegistry, tmp_path: Path, make
) -> None:
    layer = make(tar_of({"a": b"a" * 5000}))
    write_layout(tmp_path / "oci", [layer])
    name = push(tmp_path / "oci", registry, f"pull/form{len(layer.blob)}:1", "--preserve-digests")

    ours.pull(name)

    assert ours.store.image(name).layers[0].diff_id == digest(layer.tar)


def test_dockers_manifests_are_images_too(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "pull/docker:1", "--format=v2s2")

    ours.pull(name)

    image = ours.store.image(name)
    assert image.manifest.media_type == "application/vnd.docker.distribution.manifest.v2+json"


def test_an_image_may_be_named_by_digest(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    pushed = write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "pull/digest:1")

    out = ours.pull(f"{name}@{pushed}")

    assert out.startswith(f"{pushed}: Pulling from pull/digest\n")
    assert ours.store.image(name.replace(":1", f"@{pushed}")).tags == ()
    code, line = ours.fails_to_pull(f"{name}@sha256:{'0' * 64}")
    assert code == 31
    assert "manifest unknown" in line


class TestPlatforms:
    @pytest.fixture
    def name(self, registry: DockerRegistry, tmp_path: Path) -> str:
        """An index of three platforms, which only podman can push."""
        layouts = []
        for architecture in ("amd64", "arm64", "s390x"):
            layer = layer_of({"etc/arch": architecture.encode()})
            layout = tmp_path / architecture
            write_layout(layout, [layer], architecture=architecture)
            layouts.append(layout)
        combined = tmp_path / "all"
        index = combine(combined, layouts)
        name = f"{registry.domain}/pull/platforms:1"
        command = ["skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--all"]
        run([*command, f"oci:{combined}:latest", f"docker://{name}"])
        self.index = index
        return name

    def test_the_machines_own_is_pulled(self, ours: Ours, name: str) -> None:
        out = ours.pull(name)

        image = ours.store.image(name)
        assert (
            image.config.platform.architecture
            == {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
        )
        assert f"Digest: {self.index}" in out
        assert image.index == self.index
        assert "up to date" in ours.pull(name)

    def test_another_one_may_be_asked_for(self, ours: Ours, name: str) -> None:
        ours.pull(name, "--platform", "linux/s390x")

        assert ours.store.image(name).config.platform.architecture == "s390x"
        code, line = ours.fails_to_pull(name, "--platform=linux/riscv64")
        assert code == 33
        assert "linux/amd64, linux/arm64, linux/s390x" in line


def combine(directory: Path, layouts: list[Path]) -> str:
    """Write an index of the images of several layouts; returns its digest."""
    (directory / "blobs/sha256").mkdir(parents=True)
    manifests = []
    for layout in layouts:
        for blob in (layout / "blobs/sha256").iterdir():
            (directory / "blobs/sha256" / blob.name).write_bytes(blob.read_bytes())
        (described,) = json.loads((layout / "index.json").read_text())["manifests"]
        del described["annotations"]
        platform = {"os": "linux", "architecture": layout.name}
        manifests.append(described | {"platform": platform})
    kind = "application/vnd.oci.image.index.v1+json"
    raw = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests}).encode()
    (directory / "blobs/sha256" / digest(raw)[7:]).write_bytes(raw)
    named = {"org.opencontainers.image.ref.name": "latest"}
    top = {"mediaType": kind, "digest": digest(raw), "size": len(raw), "annotations": named}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return digest(raw)


def test_json_tells_programs_everything(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    pushed = write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "pull/json:1")

    *events, last = map(json.loads, ours.pull(name, "--json").splitlines())

    assert {"id": ident(BASE), "status": "Pull complete"} in events
    moved = [event for event in events if "current" in event]
    assert moved[-1]["current"] == moved[-1]["total"] == len(BASE.blob)
    assert (last["reference"], last["digest"], last["new"]) == (name, pushed, True)


def test_a_terminal_gets_bars(ours: Ours, registry: DockerRegistry, tmp_path: Path) -> None:
    write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "pull/bars:1")
    command = f"overlayfs-py pull --root {ours.root} --tls-verify=false {name}"
    program = PROGRAM.parent

    shown = run(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        env=ours.environment | {"PATH": f"{program}:/usr/bin:/bin", "TERM": "xterm"},
    )

    assert re.search(rf"{ident(BASE)}: Pull complete .*━+", shown)
    assert "Status: Downloaded newer image" in shown


def pull_with(configuration: str, ours: Ours, name: str) -> str:
    """Pull where registries.conf says this."""
    path = ours.home / "registries.conf"
    path.write_text(configuration)
    environment = ours.environment | {"CONTAINERS_REGISTRIES_CONF": str(path)}
    return run([PROGRAM, "pull", "--root", ours.root, "--tls-verify=false", name], env=environment)


def test_a_mirror_is_asked_first_and_the_registry_after_it(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE])
    push(tmp_path / "oci", registry, "pull/mirrored/app:1")
    configuration = (
        f'[[registry]]\nprefix = "registry.invalid"\nlocation = "{registry.domain}/pull/mirrored"\n'
        f'[[registry.mirror]]\nlocation = "{registry.domain}/nowhere"\n'
    )

    pull_with(configuration, ours, "registry.invalid/app:1")

    image = ours.store.image("registry.invalid/app:1")
    assert image.entry.repositories == ("registry.invalid/app",)


def test_a_short_name_is_looked_for_where_registries_conf_says(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE])
    name = push(tmp_path / "oci", registry, "pull/short:1")
    search = f'unqualified-search-registries = ["{registry.domain}/none", "{registry.domain}"]'

    out = pull_with(search, ours, "pull/short:1")

    assert out.endswith(f"\nStatus: Downloaded newer image for {name}\n{name}\n")
    assert ours.store.image("pull/short:1").references == (name,)
    alias = f'[aliases]\n"brief" = "{registry.domain}/pull/short"\n'
    assert pull_with(alias, ours, "brief:1").endswith(f"\n{name}\n")


def test_all_tags_of_a_repository_come(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE])
    names = [push(tmp_path / "oci", registry, f"all/tags:{tag}") for tag in ("1", "b")]
    repository = names[0].removesuffix(":1")

    assert sorted(ours.pull(repository, "-q", "--all-tags").split()) == names
    tags = ours("images", "--root", ours.root, "--format", "{{.Tag}}")
    assert sorted(tags.split()) == ["1", "b"]
    assert ours.fails_to_pull(names[0], "-a")[1].startswith("--all-tags takes a name without tag")
    assert ours.fails_to_pull(f"{registry.domain}/all/none", "-a")[0] == 31


def test_an_image_for_another_platform_comes_with_a_warning(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE], architecture="s390x")
    name = push(tmp_path / "oci", registry, "pull/other:1", "--override-arch=s390x")
    words = ("pull", "-q", "--root", ours.root, "--tls-verify=false")

    told = ours.attempt(*words, "--platform", "linux/amd64", name)
    same = ours.attempt(*words, "--platform", "linux/s390x", name)

    assert (told.returncode, told.stdout) == (0, f"{name}\n")
    assert told.stderr == f"overlayfs-py: {name}: an image for linux/s390x, not for linux/amd64\n"
    assert (same.returncode, same.stderr) == (0, "")
