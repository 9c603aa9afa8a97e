from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.image.reference import parse_reference
from overlayfs_py.registry.configuration import Configuration, Location, read_configuration
from overlayfs_py.registry.errors import Refused

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
unqualified-search-registries = ["docker.io"]
[aliases]
"debian" = "docker.io/library/debian"
[[registry]]
prefix = "docker.io"
location = "registry.example.com/hub"
[[registry.mirror]]
location = "mirror.example.com:5000/hub"
insecure = true
[[registry.mirror]]
location = "digests.example.com"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example.com"
pull-from-mirror = "tag-only"
[[registry]]
prefix = "docker.io/team"
mirror-by-digest-only = true
[[registry.mirror]]
location = "team.example.com"
[[registry]]
location = "localhost:5000"
insecure = true
[[registry]]
prefix = "evil.example.com"
blocked = true
[[registry]]
prefix = "*.inner.example.com"
insecure = true
"""
DIGEST = "sha256:" + "0" * 64
CASES = {
    "nothing said": ("quay.io/a/b", [Location("quay.io", "a/b")]),
    "mirrors, then another location": (
        "debian:12",
        [
            Location("mirror.example.com:5000", "hub/library/debian", insecure=True),
            Location("tags.example.com", "library/debian"),
            Location("registry.example.com", "hub/library/debian"),
        ],
    ),
    "by digest": (
        f"debian@{DIGEST}",
        [
            Location("mirror.example.com:5000", "hub/library/debian", insecure=True),
            Location("digests.example.com", "library/debian"),
            Location("registry.example.com", "hub/library/debian"),
        ],
    ),
    "the longest prefix": ("team/app:1", [Location("docker.io", "team/app")]),
    "mirrors by digest only": (
        f"team/app@{DIGEST}",
        [Location("team.example.com", "app"), Location("docker.io", "team/app")],
    ),
    "no prefix of a component": (
        "teamwork/app",
        [
            Location("mirror.example.com:5000", "hub/teamwork/app", insecure=True),
            Location("tags.example.com", "teamwork/app"),
            Location("registry.example.com", "hub/teamwork/app"),
        ],
    ),
    "insecure": ("localhost:5000/a", [Location("localhost:5000", "a", insecure=True)]),
    "a wildcard": (
        "x.inner.example.com/a",
        [Location("x.inner.example.com", "a", insecure=True)],
    ),
    "a wildcard is not its host": (
        "inner.example.com/a",
        [Location("inner.example.com", "a")],
    ),
}
BROKEN = {
    "no TOML": "[[registry",
    "of another type": "registry = 1",
    "nothing to match": "[[registry]]\ninsecure = true",
    "no text": "\xff",
}


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    (tmp_path / "registries.conf").write_text(TEXT)
    return read_configuration([tmp_path / "registries.conf"])


@pytest.mark.parametrize(("text", "locations"), CASES.values(), ids=CASES.keys())
def test_where_an_image_is_pulled_from(configuration, text, locations) -> None:
    assert configuration.locations(parse_reference(text)) == locations


def test_mirrors_are_not_pushed_to(configuration: Configuration) -> None:
    at = configuration.push_location(parse_reference("debian:12"))

    assert at == Location("registry.example.com", "hub/library/debian")


def test_a_blocked_registry_is_refused(configuration: Configuration) -> None:
    with pytest.raises(Refused, match="blocks evil"):
        configuration.locations(parse_reference("evil.example.com/app"))


def test_a_later_file_goes_before_an_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "1.conf").write_text(TEXT)
    (tmp_path / "2.conf").write_text(
        '[[registry]]\nprefix = "localhost:5000"\n[aliases]\n"debian" = ""\n'
    )

    both = read_configuration([tmp_path / "1.conf", tmp_path / "2.conf", tmp_path / "none.conf"])

    assert both.locations(parse_reference("localhost:5000/a")) == [Location("localhost:5000", "a")]
    assert both.aliases == {}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registries.conf"
    path.write_bytes(text.encode("latin-1"))

    with pytest.raises(Refused) as refused:
        read_configuration([path])
    assert refused.value.filename == str(path)


VERSION_1 = """
[registries.search]
registries = ["a.example", "b.example/"]
[registries.insecure]
registries = ["a.example", "c.example:5000"]
[registries.block]
registries = ["d.example"]
"""


def test_version_1_is_obeyed(tmp_path: Path) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(VERSION_1)

    found = read_configuration([path])

    assert found.search == ("a.example", "b.example")
    assert found.locations(parse_reference("a.example/x")) == [Location("a.example", "x", True)]
    assert found.locations(parse_reference("b.example/x")) == [Location("b.example", "x")]
    assert found.push_location(parse_reference("c.example:5000/x/y")).insecure
    for refused in (found.locations, found.push_location):
        with pytest.raises(Refused, match=r"blocks d\.example"):
            refused(parse_reference("d.example/x"))


@pytest.mark.parametrize(
    "more", ['unqualified-search-registries = ["x.example"]\n', '[[registry]]\nlocation = "x"\n']
)
def test_the_two_versions_are_not_mixed(tmp_path: Path, more: str) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(more + VERSION_1)

    with pytest.raises(Refused, match="mixed") as refusal:
        read_configuration([path])
    assert refusal.value.filename == str(path)


@pytest.mark.parametrize(
    "text", ["registries = 1", "[registries]\nblock = ['x']", "registry = []\n["]
)
def test_what_is_of_no_version_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "registries.conf"
    path.write_text(text)

    with pytest.raises(Refused, match=r"not a registries\.conf"):
        read_configuration([path])
