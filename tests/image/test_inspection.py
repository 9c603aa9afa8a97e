from __future__ import annotations

import json

import pytest

from overlayfs_py.image import media_types
from overlayfs_py.image.config import Healthcheck, RunConfig, build_config
from overlayfs_py.image.descriptor import Descriptor
from overlayfs_py.image.digest import digest_of
from overlayfs_py.image.inspection import (
    StoreFacts,
    inspect_format,
    inspect_image,
    inspect_json,
)
from overlayfs_py.image.platform import Platform
from overlayfs_py.image.templates.errors import ExecutionError
from overlayfs_py.image.templates.template import parse_template

A = digest_of(b"a")
TAGGED_NS = 1_700_000_000_500_000_000
CONFIG = build_config(
    Platform("linux", "arm64", "v8"),
    [A],
    run=RunConfig(
        cmd=("sh", "-c", "a && b"),
        exposed_ports=("80/tcp", "443/tcp"),
        labels={"b": "2", "a": "<1>"},
        healthcheck=Healthcheck(("CMD", "x"), interval_ns=90_000_000_000, retries=3),
    ),
    created="2023-11-14T22:13:20Z",
)
FACTS = StoreFacts(
    Descriptor(media_types.OCI_MANIFEST, A, 7),
    ("docker.io/library/debian:12",),
    (f"docker.io/library/debian@{A}",),
    1234,
    ("/s/top", "/s/a:b"),
    TAGGED_NS,
)
IMAGE = inspect_image(CONFIG, FACTS)


def printed(template: str) -> str:
    return inspect_format(parse_template(template), IMAGE)


def test_the_keys_are_docker_s_in_its_order() -> None:
    (told,) = json.loads(inspect_json([IMAGE]))

    assert " ".join(told) == (
        "Id RepoTags RepoDigests Created Config Architecture Variant Os Size GraphDriver RootFS"
        " Metadata Descriptor"
    )
    assert (told["Id"], told["RepoTags"], told["Size"]) == (CONFIG.image_id, ["debian:12"], 1234)
    assert told["Config"] == {
        "ExposedPorts": {"443/tcp": {}, "80/tcp": {}},
        "Cmd": ["sh", "-c", "a && b"],
        "Labels": {"a": "<1>", "b": "2"},
        "Healthcheck": {"Test": ["CMD", "x"], "Interval": 90_000_000_000, "Retries": 3},
    }
    assert told["Metadata"] == {"LastTagTime": "2023-11-14T22:13:20.5Z"}
    assert told["GraphDriver"]["Data"] == {"LowerDir": "/s/top:/s/a\\:b"}


def test_json_is_indented_by_four_and_leaves_html_alone() -> None:
    lines = inspect_json([IMAGE]).splitlines()

    assert lines[:3] == ["[", "    {", f'        "Id": "{CONFIG.image_id}",']
    assert '                "a && b"' in lines


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{.ID}}", CONFIG.image_id),
        ("{{.Config.Cmd}} {{len .Config.Cmd}}", "[sh -c a && b] 3"),
        ("{{json .Config.Cmd}}", '["sh","-c","a && b"]'),
        ("{{.Config.ExposedPorts}}", "map[443/tcp:{} 80/tcp:{}]"),
        ("{{.Config.Env}} {{.Config.Volumes}}", "[] map[]"),
        ("{{.Config.Labels}}", "map[a:<1> b:2]"),
        ("{{.Config.Healthcheck}}", "{[CMD x] 1m30s 0s 0s 0s 3}"),
        ("{{.Metadata.LastTagTime}}", "2023-11-14 22:13:20.5 +0000 UTC"),
        ("{{.Parent}}{{.Author}}{{.DockerVersion}}|", "|"),
        ("{{.Size}} {{.RootFS.Type}} {{.Variant}}", "1234 layers v8"),
        # What the types have not, docker looks for in the JSON: with the types that it has there.
        ("{{.Id}} {{.Config.ExposedPorts}}", f"{CONFIG.image_id} map[443/tcp:map[] 80/tcp:map[]]"),
        (
            "{{.Id}} {{.Size}} {{.Config.Healthcheck.Interval}}",
            f"{CONFIG.image_id} 1234 90000000000",
        ),
    ],
)
def test_a_template_prints_what_docker_prints(template: str, expected: str) -> None:
    assert printed(template) == expected


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{{.Foo}}", 'map has no entry for key "Foo"'),
        ("{{.Config.Foo}}", 'map has no entry for key "Foo"'),
        ("{{.Id}} {{.Author}}", 'map has no entry for key "Author"'),
        ("{{.Os.Foo}}", "can't evaluate field Foo in type interface {}"),
    ],
)
def test_what_an_image_has_not_is_an_error_in_docker_s_words(template: str, why: str) -> None:
    with pytest.raises(ExecutionError, match=why):
        printed(template)


def test_an_image_that_was_never_tagged() -> None:
    untagged = inspect_image(CONFIG, StoreFacts(FACTS.descriptor, (), (), 0, (), None))

    told = json.loads(inspect_json([untagged]))[0]

    assert (told["RepoTags"], told["RepoDigests"]) == ([], [])
    assert told["Metadata"] == {"LastTagTime": "0001-01-01T00:00:00Z"}


def test_no_image_is_an_empty_list() -> None:
    assert inspect_json([]) == "[]"
