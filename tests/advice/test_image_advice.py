"""What is said of an image's layers, its config and its history."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.advice.findings import Severity
from overlayfs_py.advice.image_facts import ImageFacts
from overlayfs_py.advice.image_findings import instruction
from overlayfs_py.advice.image_report import ImageReport, report
from overlayfs_py.image.config import RunConfig
from overlayfs_py.store.store import Store
from tests.support.stored import make_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from overlayfs_py.advice.image_findings import Advice

BIG, SMALL = "b" * 100_000, "s" * 5_000
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n"


def _report(
    tmp_path: Path,
    *layers: Mapping[str, str | None],
    steps: Sequence[str] | None = None,
    run: RunConfig = RunConfig(),  # noqa: B008 - a value that cannot change
    modes: Mapping[str, int] | None = None,
) -> ImageReport:
    store = Store.open(tmp_path / "store")
    image = make_image(store, "app", layers=list(layers), steps=steps, run=run)
    for path, mode in (modes or {}).items():
        (Path(os.fsdecode(image.layers[0].path)) / path).chmod(mode)
    with ImageFacts(image.config, image.layers) as facts:
        return report("app", facts)


def _about(found: ImageReport, rule: str) -> list[Advice]:
    return [each for each in found.advice if each.rule == rule]


def test_what_a_later_layer_deletes(tmp_path: Path) -> None:
    found = _report(
        tmp_path,
        {"d/a": BIG, "d/e/b": SMALL, "kept": SMALL + "k"},
        {".wh.d": ""},
        steps=["RUN /bin/sh -c make # buildkit", "RUN /bin/sh -c rm -r d # buildkit"],
    )

    (advice,) = found.advice
    assert (advice.rule, advice.layer, advice.paths) == ("DeletedLater", 0, (b"d/a", b"d/e/b"))
    assert advice.rewrite == "RUN make && rm -r d"
    assert advice.saved_bytes == found.wasted_bytes == found.layers[0].wasted_bytes == 105_000
    assert (found.bytes, found.layers[1].bytes, found.layers[1].deletes) == (110_001, 0, 2)


def test_what_a_later_layer_writes_again(tmp_path: Path) -> None:
    """A directory in a file's place, and an opaque one, delete what was there."""
    found = _report(
        tmp_path,
        {"f": BIG, "d/x": SMALL, "o/y": SMALL + "y"},
        {"f": BIG + "more", "d": "a file", "o/.wh..wh..opq": "", "o/z": "z"},
    )

    told = {(each.rule, each.paths): each.saved_bytes for each in found.advice}
    assert told == {
        ("ReplacedLater", (b"f",)): 100_000,
        ("DeletedLater", (b"o/y", b"d/x")): 10_001,
    }


def test_what_is_copied_for_another_mode(tmp_path: Path) -> None:
    found = _report(
        tmp_path,
        {"app/f": BIG},
        {"app/f": BIG, "app/g": "g"},
        steps=["COPY app /app # buildkit", "RUN /bin/sh -c chmod -R 600 /app # buildkit"],
        modes={"app/f": 0o600},
    )

    (advice,) = found.advice
    assert advice.rule == "CopiedForAttributes"
    assert advice.rewrite == "COPY --chmod=0644 app /app"


def test_the_names_of_one_file_count_once(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    image = make_image(store, "app", layers=[{"d/a": BIG}, {"d/.wh.a": ""}, {"d/.wh.b": ""}])
    lowest = Path(os.fsdecode(image.layers[0].path))
    os.link(lowest / "d/a", lowest / "d/b")
    with ImageFacts(image.config, image.layers) as facts:
        found = report("app", facts)

    assert found.bytes == 100_000
    assert [(each.paths, each.saved_bytes) for each in found.advice] == [((b"d/b",), 100_000)]


CACHES = [
    ("var/lib/apt/lists/mirror_Packages", "rm -rf /var/lib/apt/lists/*"),
    ("var/cache/apt/archives/gcc.deb", "apt-get clean"),
    ("var/cache/dnf/x/packages/y.rpm", "dnf clean all"),
    ("var/cache/apk/APKINDEX.1.tar.gz", "rm -rf /var/cache/apk/*"),
    ("root/.cache/pip/http/0/a", "pip cache purge"),
    ("home/me/.npm/_cacache/content/a", "npm cache clean --force"),
    ("tmp/left", "rm -rf /tmp/* /var/tmp/*"),
]


@pytest.mark.parametrize(("path", "cleaning"), CACHES)
def test_caches_left_behind(tmp_path: Path, path: str, cleaning: str) -> None:
    steps = ["RUN /bin/sh -c install # buildkit"]
    (advice,) = _report(tmp_path, {path: BIG}, steps=steps).advice

    assert (advice.rule, advice.saved_bytes) == ("CacheLeftBehind", 100_000)
    assert advice.rewrite == f"RUN install && {cleaning}"


def test_what_programs_need_is_no_cache(tmp_path: Path) -> None:
    quiet = ["var/lib/dpkg/status", "usr/lib/apt/apt.so", "var/lib/apt/lists/lock", "app/tmp/x"]

    assert _report(tmp_path, dict.fromkeys(quiet, SMALL)).advice == ()


def test_the_same_content_in_two_layers(tmp_path: Path) -> None:
    found = _report(
        tmp_path, {"a": BIG, "same/layer": BIG, "c": SMALL}, {"b": BIG, "d": SMALL[:-1] + "x"}
    )

    (advice,) = found.advice
    assert (advice.rule, advice.layer, advice.paths) == ("SameContent", 1, (b"b",))
    assert (advice.saved_bytes, found.savable_bytes, found.wasted_bytes) == (100_000, 100_000, 0)


SECRETS = {
    "root/.ssh/id_ed25519": KEY,
    "srv/tls.key": KEY,
    "app/.env": "A=1\nAPI_TOKEN=hjk23h4kjh\n",
    "root/.npmrc": "//registry.npmjs.org/:_authToken=npm_abcdefghijk\n",
    "root/.netrc": "machine x login y password z\n",
    "root/.git-credentials": "https://me:secret@git.example.org\n",
    "root/.docker/config.json": '{"auths": {"r": {"auth": "bWU6c2VjcmV0"}}}',
    "root/.aws/credentials": "aws_secret_access_key = abcdefghijklmnopqrstuvwxyz\n",
    "root/.kube/config": "    token: abcdefghijklmnop\n",
}


@pytest.mark.parametrize("path", SECRETS)
def test_a_secret_stays_in_its_layer(tmp_path: Path, path: str) -> None:
    above, _, name = path.rpartition("/")
    found = _report(tmp_path, {path: SECRETS[path]}, {f"{above}/.wh.{name}": ""})

    (advice,) = _about(found, "SecretInLayer")
    assert advice.severity is Severity.ERROR
    assert advice.paths == (path.encode(),)
    assert advice.message.endswith("layer 0; layer 1 only hides it")


def test_what_is_no_secret(tmp_path: Path) -> None:
    quiet = {
        "etc/ssl/certs/ca.pem": "-----BEGIN CERTIFICATE-----\nabc\n",
        "usr/lib/python3/test/key.pem": KEY,
        "app/.env": "DEBUG=1\nAPI_TOKEN=${API_TOKEN}\nPASSWORD=\n",
        "app/.env.example": "PASSWORD=change-this\n",
        "root/.npmrc": "//r/:_authToken=${NPM_TOKEN}\n",
        "root/.ssh/id_rsa.pub": "ssh-rsa AAAA",
        "root/.docker/config.json": '{"credHelpers": {"r": "pass"}}',
    }

    assert _report(tmp_path, quiet, run=RunConfig(env=("PATH=/bin", "KEY_FILE=/k"))).advice == ()


def test_secrets_of_the_config_and_the_history_are_not_told_on(tmp_path: Path) -> None:
    token = "ghp_" + "a" * 36
    found = _report(
        tmp_path,
        {"f": "f"},
        {"app/.git/HEAD": "ref: x\n"},
        run=RunConfig(env=("DB_PASSWORD=hunter2",)),
        steps=[f"RUN git clone https://{token}@github.com/x # buildkit", "COPY . /app"],
    )

    assert [each.rule for each in found.advice] == [
        *("SecretInConfig", "SecretInHistory", "RepositoryInLayer")
    ]
    assert found.advice[-1].paths == (b"app/.git",)
    assert not [each for each in found.advice if token in each.message or "hunter2" in each.message]


def test_loose_modes(tmp_path: Path) -> None:
    modes = {"su": 0o4755, "open": 0o666, "d": 0o777, "tmp": 0o1777}
    found = _report(tmp_path, {"su": "s", "open": "o", "d": None, "tmp": None}, modes=modes)

    told = {each.rule: each.paths for each in found.advice}
    assert told == {"WorldWritable": (b"open", b"d"), "SetUserId": (b"su",)}


@pytest.mark.parametrize(
    ("told", "stood"),
    [
        ('/bin/sh -c #(nop)  CMD ["sh"]', 'CMD ["sh"]'),
        ("/bin/sh -c #(nop) ADD file:1 in / ", "ADD file:1 in /"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c make # buildkit", "RUN make"),
        ("RUN |1 A=b /bin/sh -c make # buildkit", "RUN make"),
        ("/bin/bash -o pipefail -c make", "RUN make"),
        ("COPY . /app # buildkit", "COPY . /app"),
    ],
)
def test_a_line_of_the_history_is_an_instruction(told: str, stood: str) -> None:
    assert instruction(told) == stood


def test_an_image_without_layers_and_one_with_a_layer_twice(tmp_path: Path) -> None:
    """The upper one of two equal layers is what counts, once."""
    nothing = _report(tmp_path / "nothing")
    twice = _report(tmp_path / "twice", {"f": BIG}, {"g": SMALL}, {"f": BIG})

    assert (nothing.bytes, nothing.wasted_share, nothing.advice) == (0, 0.0, ())
    assert (twice.bytes, twice.advice) == (105_000, ())
    assert [layer.bytes for layer in twice.layers] == [0, 5_000, 100_000]
