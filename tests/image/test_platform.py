from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from overlayfs_py.image import media_types
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.errors import BadPlatform, NoSuchPlatform
from overlayfs_py.image.platform import (
    Platform,
    choose,
    machine_platform,
    parse_platform,
    suitable,
)

# containerd's platforms_test.go, and names that people type.
PARSED = {
    "linux/amd64": "linux/amd64",
    "linux/x86_64": "linux/amd64",
    "Linux/AMD64/v1": "linux/amd64",
    "linux/amd64/v3": "linux/amd64/v3",
    "linux/arm64": "linux/arm64",
    "linux/arm64/v8": "linux/arm64",
    "linux/aarch64": "linux/arm64",
    "linux/arm": "linux/arm/v7",
    "linux/arm/7": "linux/arm/v7",
    "linux/arm/v6": "linux/arm/v6",
    "linux/armhf": "linux/arm/v7",
    "linux/armel": "linux/arm/v6",
    "linux/i386": "linux/386",
    "linux/s390x": "linux/s390x",
    "macos/arm64": "darwin/arm64",
    "arm64": "linux/arm64",
    "x86_64": "linux/amd64",
}


@pytest.mark.parametrize("text", PARSED)
def test_a_platform_has_one_name(text: str) -> None:
    platform = parse_platform(text)

    assert str(platform) == PARSED[text]
    assert parse_platform(str(platform)) == platform


@pytest.mark.parametrize("text", ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/amd 64", "*"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(BadPlatform):
        parse_platform(text)


@given(st.text())
def test_any_text_is_a_platform_or_refused(text: str) -> None:
    try:
        platform = parse_platform(text)
    except BadPlatform:
        return
    assert suitable(platform)[0] == platform


@pytest.mark.parametrize(
    ("machine", "expected"),
    [("x86_64", "linux/amd64"), ("aarch64", "linux/arm64"), ("armv7l", "linux/arm/v7")],
)
def test_the_platform_of_this_machine(machine: str, expected: str) -> None:
    assert str(machine_platform(machine)) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("linux/amd64", ["linux/amd64", "linux/386"]),
        ("linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]),
        ("linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]),
        ("linux/arm64", ["linux/arm64", *(f"linux/arm/v{n}" for n in (8, 7, 6, 5))]),
        ("linux/s390x", ["linux/s390x"]),
    ],
)
def test_what_runs_on_a_platform_best_first(wanted: str, expected: list[str]) -> None:
    assert list(map(str, suitable(parse_platform(wanted)))) == expected


def _image(platform: Platform | None, content: bytes = b"") -> Descriptor:
    return Descriptor(media_types.OCI_MANIFEST, digest_of(content), 1, platform)


def _offer(*texts: str) -> list[Descriptor]:
    return [_image(Platform(*text.split("/"))) for text in texts]


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen"),
    [
        (["linux/arm64", "linux/amd64"], "linux/amd64", 1),
        (["linux/386", "linux/amd64"], "linux/amd64", 1),
        (["linux/386", "linux/arm64"], "linux/amd64", 0),
        (["unknown/unknown", "linux/arm64/v8"], "linux/arm64", 1),
        (["linux/arm/v5", "linux/arm/v7"], "linux/arm64", 1),
        (["linux/arm/v8", "linux/arm"], "linux/arm/v7", 1),
        (["linux/amd64/v3", "linux/amd64"], "linux/amd64/v2", 1),
    ],
)
def test_the_best_image_of_an_index(offered: list[str], wanted: str, chosen: int) -> None:
    images = _offer(*offered)

    assert choose(images, parse_platform(wanted)) is images[chosen]


def test_an_image_that_does_not_say_its_platform_suits_last() -> None:
    amd64 = Platform("linux", "amd64")
    untold = _image(None)

    assert choose([untold, *_offer("linux/arm64")], amd64) is untold
    assert choose([untold, *(known := _offer("linux/amd64"))], amd64) is known[0]


def test_what_an_index_offers_instead_is_said() -> None:
    with pytest.raises(NoSuchPlatform, match="there is: linux/arm64, windows/amd64"):
        choose(
            _offer("windows/amd64", "linux/arm64", "unknown/unknown"), Platform("linux", "amd64")
        )


def test_what_an_index_lists_about_an_image_is_never_chosen() -> None:
    signature = structs.replace(_image(None), artifact_type="application/vnd.example.signature")
    attestation = structs.replace(
        _image(None), annotations={"vnd.docker.reference.type": "attestation"}
    )

    with pytest.raises(NoSuchPlatform):
        choose([signature, attestation], Platform("linux", "amd64"))
