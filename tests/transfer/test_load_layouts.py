"""OCI layouts as builders write them: several platforms, names, indexes in indexes, artifacts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.errors import OverlayError
from overlayfs_py.image.errors import NoSuchPlatform
from overlayfs_py.image.platform import Platform
from overlayfs_py.transfer.archive import read_directory
from overlayfs_py.transfer.load import load
from tests.store.states import require_sound
from tests.support.oci_layout import digest, layer_of

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.store import Store

_OCI = "application/vnd.oci.image."
_PLATFORM = Platform("linux", "arm64")

Descriptor = dict[str, object]


class Layout:
    """An OCI layout that a test puts together."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "blobs/sha256").mkdir(parents=True)
        (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')

    def blob(self, data: bytes, media_type: str, **more: object) -> Descriptor:
        (self.root / "blobs/sha256" / digest(data)[7:]).write_bytes(data)
        return {"mediaType": media_type, "digest": digest(data), "size": len(data)} | more

    def image(self, architecture: str, **more: object) -> Descriptor:
        layer = layer_of({"arch": architecture.encode()})
        config = {
            "os": "linux",
            "architecture": architecture,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer.tar)]},
        }
        manifest = {
            "schemaVersion": 2,
            "config": self.blob(json.dumps(config).encode(), f"{_OCI}config.v1+json"),
            "layers": [self.blob(layer.blob, f"{_OCI}layer.v1.tar+gzip")],
        }
        return self.blob(json.dumps(manifest).encode(), f"{_OCI}manifest.v1+json", **more)

    def index(self, *listed: Descriptor, **more: object) -> Descriptor:
        document = {"schemaVersion": 2, "manifests": listed}
        return self.blob(json.dumps(document).encode(), f"{_OCI}index.v1+json", **more)

    def finish(self, *listed: Descriptor) -> Path:
        document = {"schemaVersion": 2, "manifests": listed}
        (self.root / "index.json").write_text(json.dumps(document))
        return self.root


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "layout")


def named(name: str, **more: str) -> Descriptor:
    return {"annotations": {"org.opencontainers.image.ref.name": name, **more}}


def platform(architecture: str, os: str = "linux") -> Descriptor:
    return {"platform": {"os": os, "architecture": architecture}}


def loaded(store: Store, path: Path) -> dict[str, list[str]]:
    """What was loaded: the names by architecture."""
    found = {
        each.image.config.platform.architecture: [name.familiar for name in each.references]
        for each in load(store, read_directory(path), _PLATFORM, "layout")
    }
    require_sound(store)
    return found


_ORDERS = [("amd64", "arm64", "s390x"), ("arm64", "s390x", "amd64"), ("s390x", "amd64", "arm64")]


@pytest.mark.parametrize("order", _ORDERS, ids="-".join)
@pytest.mark.parametrize("name", ["reg.example/x:1", None])
@pytest.mark.parametrize("told", [True, False])
def test_of_the_images_of_one_name_it_is_this_machine_s(
    store: Store, layout: Layout, order: tuple[str, ...], name: str | None, *, told: bool
) -> None:
    more = named(name) if name else {}
    images = [layout.image(each, **more, **(platform(each) if told else {})) for each in order]

    assert loaded(store, layout.finish(*images)) == {"arm64": [name] if name else []}


def test_a_name_without_an_image_for_this_machine_is_an_error(store: Store, layout: Layout) -> None:
    images = [layout.image(each, **named("x/y:1"), **platform(each)) for each in ("386", "s390x")]

    with pytest.raises(NoSuchPlatform, match="linux/386, linux/s390x"):
        loaded(store, layout.finish(*images))


def test_images_of_different_names_are_all_loaded(store: Store, layout: Layout) -> None:
    images = [layout.image(each, **named(f"h/{each}:1")) for each in ("amd64", "arm64")]

    assert loaded(store, layout.finish(*images)) == {"amd64": ["h/amd64:1"], "arm64": ["h/arm64:1"]}


def test_one_image_may_have_two_names(store: Store, layout: Layout) -> None:
    listed = [layout.image("arm64", **named(f"h/x:{tag}")) for tag in ("1", "stable")]

    assert loaded(store, layout.finish(*listed)) == {"arm64": ["h/x:1", "h/x:stable"]}


def test_an_index_may_list_an_index(store: Store, layout: Layout) -> None:
    inner = layout.index(*(layout.image(each, **platform(each)) for each in ("amd64", "arm64")))
    attestation = layout.image(
        "unknown",
        **platform("unknown", "unknown"),
        annotations={"vnd.docker.reference.type": "attestation-manifest"},
    )
    outer = layout.index(inner | platform("arm64"), attestation, **named("h/x:1"))

    assert loaded(store, layout.finish(outer)) == {"arm64": ["h/x:1"]}


def test_what_is_no_image_is_passed_over(store: Store, layout: Layout) -> None:
    artifact = {
        "schemaVersion": 2,
        "config": layout.blob(b"{}", "application/vnd.oci.empty.v1+json"),
        "layers": [layout.blob(b"{}", "application/json")],
    }
    listed = [
        layout.blob(json.dumps(artifact).encode(), f"{_OCI}manifest.v1+json"),
        layout.blob(b"x", "application/vnd.oci.artifact.manifest.v1+json"),
        layout.image("arm64", **named("h/x:1")),
    ]

    assert loaded(store, layout.finish(*listed)) == {"arm64": ["h/x:1"]}


@pytest.mark.parametrize(
    ("annotations", "names"),
    [
        (named("h/x@sha256:" + "1" * 64), []),
        (named("h/x:1@sha256:" + "1" * 64), ["h/x:1"]),
        (named("x", **{"io.containerd.image.name": "h/y@sha256:" + "1" * 64}), []),
        (named("x", **{"io.containerd.image.name": "h/y:2"}), ["h/y:2"]),
        (named("sha256:abc"), []),
        (named("no/Name at:all"), []),
        (named("12"), []),
    ],
)
def test_a_name_that_no_image_can_have_is_left_out(
    store: Store, layout: Layout, annotations: Descriptor, names: list[str]
) -> None:
    assert loaded(store, layout.finish(layout.image("arm64", **annotations))) == {"arm64": names}


def test_a_damaged_image_among_those_of_a_name_is_told(store: Store, layout: Layout) -> None:
    image = layout.image("arm64", **named("h/x:1"))
    missing = image | {"digest": digest(b"not there")}

    with pytest.raises(OverlayError):
        loaded(store, layout.finish(missing))
