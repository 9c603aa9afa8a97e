"""An image for several platforms goes on as one, though one platform of it is here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.oci_layout import digest, layer_of, write_layout
from tests.system.processes import run
from tests.transfer.test_pull import BASE, combine
from tests.transfer.test_pull import push as push_with_skopeo
from tests.transfer.test_push import fails_to_push, push, raw_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transfer.registries import Ours

_SKOPEO = ["skopeo", "--insecure-policy", "copy", "-q", "--all"]


@pytest.fixture
def pulled(ours: Ours, registry: DockerRegistry, tmp_path: Path) -> str:
    """Three platforms that share a layer, of which one was pulled."""
    layouts = []
    for architecture in ("amd64", "arm64", "s390x"):
        layouts.append(tmp_path / architecture)
        layers = [BASE, layer_of({"etc/arch": architecture.encode()})]
        write_layout(layouts[-1], layers, architecture=architecture)
    combine(tmp_path / "all", layouts)
    name = f"{registry.domain}/index/{tmp_path.name.replace('_', '-').lower()}:1"
    source = f"oci:{tmp_path / 'all'}:latest"
    run([*_SKOPEO, "--dest-tls-verify=false", source, f"docker://{name}"])
    ours.pull(name, "--platform=linux/arm64")
    return name


def test_another_registry_gets_every_platform_under_the_same_digest(
    ours: Ours, pulled: str, tmp_path: Path
) -> None:
    with docker_registry(tmp_path / "second") as second:
        target = f"{second.domain}/copy/app:2"

        lines = push(ours, "--all-platforms", pulled, target)

        index = raw_manifest(target)
        assert index == raw_manifest(pulled)
        assert lines[-1] == f"2: digest: {digest(index)} size: {len(index)}"
        # 1 shared layer, 3 of their own, 3 configs.
        assert sum(line.endswith(": Pushed") for line in lines) == 7
        copy = tmp_path / "copy"
        run([*_SKOPEO, "--src-tls-verify=false", f"docker://{target}", f"dir:{copy}"])
        assert (
            f"{target.removesuffix(':2')}@{digest(index)}" in ours.store.image(pulled).repo_digests
        )
        again = push(ours, "--all-platforms", pulled, target)
        assert sum(line.endswith(": Layer already exists") for line in again) == 7


def test_a_neighbour_mounts_every_blob(ours: Ours, pulled: str) -> None:
    target = pulled.replace("/index/", "/neighbour/")

    lines = push(ours, "--all-platforms", pulled, target)

    assert sum(": Mounted from index/" in line for line in lines) == 7
    assert raw_manifest(target) == raw_manifest(pulled)


def test_without_it_the_platform_that_is_here_goes(ours: Ours, pulled: str) -> None:
    target = pulled.replace("/index/", "/one/")

    push(ours, pulled, target)

    image = ours.store.image(pulled)
    assert raw_manifest(target) == image.manifest.raw
    assert image.config.platform.architecture == "arm64"


def test_what_was_not_chosen_from_several_says_so(
    ours: Ours, registry: DockerRegistry, tmp_path: Path
) -> None:
    write_layout(tmp_path / "oci", [BASE])
    name = push_with_skopeo(tmp_path / "oci", registry, "index/single:1")
    ours.pull(name)
    image_id = ours.store.image(name).image_id

    code, line = fails_to_push(ours, "--all-platforms", name)

    assert (code, line) == (33, f"{image_id}: only one platform of it is known")


def test_json_tells_the_digest(ours: Ours, pulled: str) -> None:
    target = pulled.replace("/index/", "/json/")

    *_, last = map(json.loads, push(ours, "--all-platforms", "--json", pulled, target))

    assert last == {"reference": target, "digest": digest(raw_manifest(pulled))}
