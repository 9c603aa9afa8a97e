from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlayfs_py.image import media_types
from overlayfs_py.image.descriptor import Descriptor, describe
from overlayfs_py.image.digest import DigestMismatch, digest_of
from overlayfs_py.image.errors import BadDocument
from overlayfs_py.image.manifest import (
    Index,
    Manifest,
    build_index,
    build_manifest,
    parse_image_manifest,
    parse_manifest,
)
from overlayfs_py.image.media_types import Compression, Kind
from overlayfs_py.image.platform import Platform
from tests.image.documents import descriptor, encoded, index, manifest

if TYPE_CHECKING:
    from overlayfs_py.image.go_json import Json

OCI = media_types.OCI_MANIFEST


def test_a_manifest_keeps_its_bytes_and_names_its_blobs() -> None:
    raw = json.dumps(manifest(annotations={"k": "v", "n": None}), indent=3).encode()

    parsed = parse_manifest(raw, OCI)

    assert isinstance(parsed, Manifest)
    assert (parsed.raw, parsed.digest, parsed.is_image) == (raw, digest_of(raw), True)
    assert parsed.annotations == {"k": "v", "n": ""}
    assert parsed.config.media_type == media_types.OCI_CONFIG
    assert parsed.layers == (Descriptor(media_types.OCI_LAYER_GZIP, digest_of(b"x"), 1),)
    assert parsed.descriptor == Descriptor(OCI, digest_of(raw), len(raw))


def test_an_index_names_images_and_their_platforms() -> None:
    parsed = parse_manifest(encoded(index()), media_types.OCI_INDEX)

    assert isinstance(parsed, Index)
    assert [image.platform for image in parsed.manifests] == [Platform("linux", "arm64")]


def test_unknown_fields_are_ignored_and_null_is_absent() -> None:
    document = manifest() | {"subject": None, "manifests": None, "fsLayers": None, "new": [{}]}

    assert parse_image_manifest(encoded(document), OCI).subject is None


@pytest.mark.parametrize("told", [None, "", "application/json", "text/plain; charset=utf-8", OCI])
def test_a_document_says_what_it_is_where_nobody_else_does(told: str | None) -> None:
    assert parse_image_manifest(encoded(manifest()), told).media_type == OCI


@pytest.mark.parametrize("told", [OCI, f"{OCI}; charset=utf-8", f" {OCI.upper()} "])
def test_an_oci_manifest_need_not_say_what_it_is(told: str) -> None:
    assert parse_image_manifest(encoded(manifest(mediaType=None)), told).media_type == OCI


SIZE = {"digest": digest_of(b"x"), "mediaType": media_types.OCI_LAYER}
REFUSED: dict[str, tuple[Json, str | None, str]] = {
    "not an object": ([], OCI, "Expected `object`"),
    "told otherwise": (manifest(), media_types.OCI_INDEX, "calls itself"),
    "told otherwise, Docker's": (manifest(), media_types.DOCKER_MANIFEST, "calls itself"),
    "an index told as a manifest": (index(mediaType=None), OCI, "fields of another kind"),
    "a manifest told as an index": (
        manifest(mediaType=None),
        media_types.OCI_INDEX,
        "fields of another kind",
    ),
    "both at once": (manifest() | {"manifests": []}, OCI, "fields of another kind"),
    "both at once, as an index": (
        index() | {"layers": []},
        media_types.OCI_INDEX,
        "fields of another kind",
    ),
    "schema 1 within": (manifest() | {"fsLayers": []}, OCI, "fields of another kind"),
    "nothing says what it is": (manifest(mediaType=None), None, "nothing says"),
    "of no known kind": (manifest(mediaType=None), "text/html", "neither a manifest"),
    "schema 1": (
        {"schemaVersion": 1},
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "schema 1",
    ),
    "schema 1 by its version": (
        {"schemaVersion": 1, "fsLayers": [], "history": []},
        "application/json",
        "schema 1",
    ),
    "another version": (manifest(schemaVersion=3), OCI, "schemaVersion is 3"),
    "no version": (manifest(schemaVersion=None), OCI, "schemaVersion is None"),
    "no config": (manifest(config=None), OCI, "no config"),
    "no layers": (manifest(layers=None), OCI, "no layers"),
    "no images": (index(manifests=None), None, "no manifests"),
    "a negative size": (manifest(layers=[SIZE | {"size": -1}]), OCI, "Expected `int` >= 0"),
    "a size beyond all": (manifest(layers=[SIZE | {"size": 2**63}]), OCI, "Expected `int` <="),
    "a size with a fraction": (manifest(layers=[SIZE | {"size": 1.5}]), OCI, "Expected `int`"),
    "sizes that overflow": (
        manifest(layers=[SIZE | {"size": 2**62}] * 2),
        OCI,
        "sizes of its layers overflow",
    ),
    "no size": (manifest(layers=[SIZE]), OCI, "missing required field `size`"),
    "no media type": (
        manifest(layers=[{"size": 1, "digest": digest_of(b"")}]),
        OCI,
        "has no mediaType",
    ),
    "a digest that is a path": (
        manifest(layers=[SIZE | {"size": 1, "digest": "sha256:../../etc/passwd"}]),
        OCI,
        "not a sha256 digest",
    ),
    "another algorithm": (
        manifest(layers=[SIZE | {"size": 1, "digest": "sha512:" + "0" * 128}]),
        OCI,
        "not a sha256 digest",
    ),
    "too many layers": (manifest(layers=[SIZE | {"size": 1}] * 501), OCI, "501 layers"),
    "too many images": (
        index(manifests=[descriptor(OCI)] * 1001),
        media_types.OCI_INDEX,
        "1001 images",
    ),
    "embedded data of another blob": (
        manifest(config=descriptor(media_types.OCI_CONFIG, b"x", data="eQ==")),
        OCI,
        "not that blob",
    ),
    "embedded data of no encoding": (
        manifest(config=descriptor(media_types.OCI_CONFIG, b"x", data="?")),
        OCI,
        "not base64",
    ),
    "too large": (manifest(annotations={"a": "x" * (4 << 20)}), OCI, "more than the 4194304"),
}


@pytest.mark.parametrize(("document", "told", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_manifest_is_refused_with_its_reason(
    document: Json, told: str | None, why: str
) -> None:
    with pytest.raises(BadDocument, match=why):
        parse_manifest(encoded(document), told)


def test_one_image_is_not_an_index() -> None:
    with pytest.raises(BadDocument, match="an index where one image was expected"):
        parse_image_manifest(encoded(index()), None)


def test_a_manifest_is_what_it_was_asked_for_by() -> None:
    raw = encoded(manifest())

    assert parse_manifest(raw, OCI, digest_of(raw)).raw == raw
    with pytest.raises(DigestMismatch):
        parse_manifest(raw + b" ", OCI, digest_of(raw))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff",
        b'{"mediaType":"\xff"}',
        b'{"mediaType":"\\ud800"}',
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"size":1e400}',
        b"{}{}",
    ],
)
def test_what_is_no_json_is_refused(raw: bytes) -> None:
    with pytest.raises(BadDocument):
        parse_manifest(raw, OCI)


def test_an_artifact_is_no_image() -> None:
    config = descriptor(
        "application/vnd.oci.empty.v1+json", b"{}", data=base64.b64encode(b"{}").decode()
    )
    document = manifest(config=config, artifactType="application/x", layers=[descriptor("a/b")])

    parsed = parse_image_manifest(encoded(document), OCI)

    assert not parsed.is_image
    assert (parsed.artifact_type, parsed.config.data) == ("application/x", b"{}")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
_fields = st.sampled_from(
    ["schemaVersion", "mediaType", "config", "layers", "manifests", "subject", "annotations"]
)


@given(st.dictionaries(_fields, _json, max_size=3), st.sampled_from([None, *media_types.ACCEPTED]))
def test_any_change_is_understood_or_refused(changes: dict[str, Json], told: str | None) -> None:
    raw = encoded(manifest(**changes))

    try:
        parsed = parse_manifest(raw, told)
    except BadDocument:
        return
    assert parsed.raw == raw


@pytest.mark.parametrize("kind", Kind)
def test_a_built_manifest_says_what_it_was_given(kind: Kind) -> None:
    config = describe(b"{}", kind.config)
    layers = [describe(b"1", kind.layer(compression)) for compression in Compression]

    built = build_manifest(kind, config, layers, annotations={"b": "<", "a": ""}, subject=config)

    assert (built.media_type, built.config, built.subject) == (kind.manifest, config, config)
    assert (built.layers, built.annotations) == (tuple(layers), {"a": "", "b": "<"})
    assert build_manifest(
        kind, config, layers, annotations={"a": "", "b": "<"}, subject=config
    ) == (built)


def test_the_bytes_of_a_built_manifest() -> None:
    built = build_manifest(Kind.OCI, describe(b"", media_types.OCI_CONFIG), [])

    assert built.raw == (
        b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
        b'"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:'
        b'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":0},"layers":[]}'
    )


def test_a_built_index_says_what_it_was_given() -> None:
    image = Descriptor(
        OCI,
        digest_of(b""),
        1,
        Platform("windows", "amd64", os_version="10.0.1", os_features=("win32k",)),
        annotations={"k": "v"},
        urls=("https://h/x",),
        artifact_type="a/b",
        data=None,
    )

    built = build_index(Kind.OCI, [image], subject=image, artifact_type="c/d")

    assert (built.manifests, built.subject, built.artifact_type) == ((image,), image, "c/d")


@pytest.mark.parametrize(
    ("media_type", "compression"),
    [
        (media_types.DOCKER_LAYER, Compression.NONE),
        (media_types.DOCKER_LAYER_GZIP, Compression.GZIP),
        (media_types.OCI_LAYER_ZSTD, Compression.ZSTD),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Compression.GZIP),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", Compression.NONE),
    ],
)
def test_a_layer_says_how_it_is_compressed(media_type: str, compression: Compression) -> None:
    assert media_types.compression_of(media_type) is compression


def test_an_encrypted_layer_is_refused() -> None:
    with pytest.raises(BadDocument, match="not the media type of a layer"):
        media_types.compression_of(media_types.OCI_LAYER_GZIP + "+encrypted")


@pytest.mark.parametrize(
    "media_type",
    ["application/octet-stream", "application/json", "text/html; charset=utf-8", "", None],
)
def test_old_types_of_a_config_are_an_image_s(media_type: str | None) -> None:
    config = descriptor("x", b"{}") | {"mediaType": media_type}

    parsed = parse_image_manifest(encoded(manifest(config=config)), OCI)

    assert parsed.is_image
    assert parsed.config.media_type == (media_type or "")


@pytest.mark.parametrize(
    "media_type", ["application/vnd.docker.plugin.v1+json", "application/vnd.cncf.helm.config.v1"]
)
def test_what_is_made_of_another_config_is_no_image(media_type: str) -> None:
    config = descriptor(media_type, b"{}")

    assert not parse_image_manifest(encoded(manifest(config=config)), OCI).is_image


@pytest.mark.parametrize("told", ["text/html", "binary/octet-stream", "application/x-tar", "x"])
def test_what_a_plain_web_server_says_of_it_is_nothing(told: str) -> None:
    assert parse_image_manifest(encoded(manifest()), told).media_type == OCI
