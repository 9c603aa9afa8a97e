"""Compressed layers that the store keeps: the very image goes on, though its registry is gone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.docker_registry import DockerRegistry, docker_registry
from tests.support.oci_layout import digest, layer_of, write_layout
from tests.transfer.test_pull import BASE
from tests.transfer.test_pull import push as push_with_skopeo
from tests.transfer.test_push import push, raw_manifest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.transfer.registries import Ours

TOP = layer_of({"etc/top": b"top"})


@pytest.fixture
def kept(ours: Ours, tmp_path: Path) -> str:
    """An image whose registry is gone; BASE was pulled first without its blob."""
    with docker_registry(tmp_path / "gone") as gone:
        write_layout(tmp_path / "base", [BASE])
        ours.pull(push_with_skopeo(tmp_path / "base", gone, "kept/base:1"))
        write_layout(tmp_path / "oci", [BASE, TOP])
        name = push_with_skopeo(tmp_path / "oci", gone, "kept/app:1")
        out = ours.pull(name, "--keep-blobs")
        assert out.count("Pull complete") == 2
        assert ours.pull(name, "--keep-blobs").count("Already exists") == 2
    return name


def test_it_is_pushed_as_it_came(ours: Ours, kept: str, registry: DockerRegistry) -> None:
    target = f"{registry.domain}/kept/app:1"
    before = ours.store.image(kept).manifest

    push(ours, kept, target)

    assert digest(raw_manifest(target)) == before.digest


def test_a_damaged_one_is_not_pushed(ours: Ours, kept: str, registry: DockerRegistry) -> None:
    blob = ours.root / "blobs/sha256" / digest(TOP.blob)[7:]
    blob.write_bytes(bytes(len(TOP.blob)))

    command = ("push", "--root", ours.root, "--tls-verify=false")
    done = ours.attempt(*command, kept, f"{registry.domain}/kept/damaged:1")

    assert done.returncode == 44
    assert [problem.name for problem in ours.store.check()] == [digest(TOP.blob)]


def test_it_is_saved_as_it_came(ours: Ours, kept: str, tmp_path: Path) -> None:
    layout = tmp_path / "layout"

    ours("save", "--root", ours.root, "--format=oci-dir", "-o", layout, kept)

    image = ours.store.image(kept)
    (described,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    assert described["digest"] == image.manifest.digest
    blob = layout / "blobs/sha256" / digest(BASE.blob)[7:]
    assert blob.read_bytes() == BASE.blob


def test_they_go_with_the_last_image_that_names_them(ours: Ours, kept: str) -> None:
    blobs = ours.root / "blobs/sha256"
    base, top = (blobs / digest(layer.blob)[7:] for layer in (BASE, TOP))
    ours("store", "prune", "--root", ours.root)
    assert base.exists()
    assert top.exists()

    ours("rmi", "--root", ours.root, kept)

    assert base.exists()
    assert not top.exists()
    ours("rmi", "--root", ours.root, kept.replace("/app:", "/base:"))
    assert list(blobs.iterdir()) == []
