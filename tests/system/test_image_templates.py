"""`inspect --format` beside podman's, which is Go's: one image in both stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from overlayfs_py.cli.image_inspect import inspected
from overlayfs_py.image.inspection import inspect_format
from overlayfs_py.image.templates.errors import TemplateError
from overlayfs_py.image.templates.template import parse_template
from overlayfs_py.store.store import Store
from tests.support.images import Podman, podman_of_its_own

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.image.templates.values import Value

_NAME = "localhost/sample:1"
_DOCKERFILE = """\
FROM scratch
LABEL b=2 a="1 <x>&"
ENV A=1 B="two words"
EXPOSE 80/tcp 443
VOLUME /data
USER nobody:1
WORKDIR /w
COPY f /f
COPY f /g
ENTRYPOINT ["/bin/x"]
CMD ["-c", "a && b <c>"]
HEALTHCHECK --interval=5s CMD x y
"""
_MARK = "\x1e"

SAME = [
    "{{.Config.Cmd}}",
    "{{.Config.Entrypoint}}",
    "{{.Config.Env}}",
    "{{.Config.ExposedPorts}}",
    "{{.Config.Volumes}}",
    "{{.Config.Labels}}",
    "{{.Config.User}}",
    "{{.Config.WorkingDir}}",
    "{{.Config.StopSignal}}|",
    "{{.RepoTags}}",
    "{{.RepoDigests}}",
    "{{.Comment}}|{{.Author}}|",
    "{{.Architecture}}/{{.Os}}",
    "{{.RootFS}}",
    "{{.RootFS.Type}} {{len .RootFS.Layers}}",
    "{{json .Config.Cmd}}",
    "{{json .Config.Env}}",
    "{{json .Config.ExposedPorts}}",
    "{{json .Config.Labels}}",
    "{{json .RootFS}}",
    "{{json .RepoTags}}",
    "{{json .Comment}}",
    "{{index .Config.Env 1}}",
    '{{index .Config.Labels "a"}}',
    '{{index .Config.Labels "zz"}}|',
    "{{index .RootFS.Layers 0}}",
    "{{truncate .Comment 5}}|",
    "{{range .Config.Env}}{{println .}}{{end}}",
    "{{range $i, $e := .Config.Env}}{{$i}}={{$e}};{{end}}",
    "{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}",
    "{{range $p, $_ := .Config.ExposedPorts}}{{$p}} {{end}}",
    "{{with .Config.User}}user {{.}}{{else}}nobody{{end}}",
    "{{with .Config.StopSignal}}{{.}}{{else}}default{{end}}",
    "{{if .Config.Volumes}}volumes{{else}}no volumes{{end}}",
    '{{if eq .Os "linux"}}L{{else if eq .Os "windows"}}W{{else}}?{{end}}',
    "{{if and .Author .Comment}}both{{else}}not both{{end}}",
    '{{or .Author "nobody"}}',
    "{{not .Config.Cmd}}",
    "{{len .Config.Env}} {{len .Config.Labels}} {{len .Comment}}",
    "{{slice .Architecture 0 3}}",
    "{{slice .Config.Env 1 2}}",
    '{{join .Config.Env ","}}',
    '{{join .Config.Cmd " "}}',
    '{{split .Architecture "m"}}',
    '{{(split .Architecture "m") | len}}',
    '{{upper .Os}} {{lower "ABC"}} {{title .Os}}',
    "{{pad .Os 2 3}}|",
    "{{truncate .Architecture 3}}",
    '{{printf "%s-%d" .Os (len .Config.Env)}}',
    '{{printf "%q" .Config.Cmd}}',
    '{{printf "%v" .Config.Labels}}',
    '{{printf "%T %T" .Os .Size}}',
    '{{printf "%-10s|%5d|%05d" .Os 42 7}}',
    '{{printf "%x" .Os}}',
    "{{print .Os .Architecture 1 2}}",
    "{{println .Os}}",
    "{{html .Config.Labels.a}}",
    """{{js "a'b<c>"}}""",
    '{{urlquery "a b&c"}}',
    "{{.Config.Labels.a}} {{.Config.Labels.nope}}",
    '{{eq .Os "linux" "windows"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 2 2}}',
    '{{lt .Os "z"}}',
    '{{$x := .Os}}{{$x}} {{$x = "y"}}{{$x}}',
    '{{range .Config.Env}}{{if eq . "A=1"}}{{break}}{{end}}{{.}}{{end}}',
    '{{range .Config.Env}}{{if eq . "A=1"}}{{continue}}{{end}}{{.}};{{end}}',
    '{{block "B" .Os}}[{{.}}]{{end}}',
    "{{/* a comment */}}x",
    "a {{- /* c */ -}} b",
    "  {{- .Os -}}  x",
    "{{1.5}} {{0x10}} {{'a'}} {{true}} {{1e6}}",
    '{{.Os | upper | printf "%s!" | len}}',
]

# Both refuse it, with the same words at the end. podman's templates are called "inspect", and are
# wrapped in a range over all images, which is why places differ.
REFUSED = {
    "{{index .Config.Env 99}}": "error calling index: index out of range: 99",
    "{{(index .RootFS.Layers 0) | truncate 12}}": "expected string; found 12",
    '{{index .Config.Cmd "x"}}': "cannot index slice/array with type string",
    "{{range .Os}}x{{end}}": "range can't iterate over linux",
    "{{upper 1}}": "expected string; found 1",
    "{{nil}}": "nil is not a command",
    "{{foo}}": 'function "foo" not defined',
    "{{end}}": "unexpected {{end}}",
    "{{if .Os}}": "unexpected EOF",
    '{{"a}}': "unterminated quoted string",
    '{{template "nope"}}': 'template "nope" not defined',
}

# What podman 4.3 (Go 1.19) prints otherwise, and why we do as docker does. None: it refuses.
DIFFERENT: dict[str, tuple[str | None, str]] = {
    "{{.ID}}": ("ID", "docker's ID has `sha256:` before it"),
    "{{.Parent}}|": (
        "ID|",
        "podman looks for a parent in its store; docker's is of its own builds",
    ),
    "{{.Created}}": ("2023-11-14 22:13:20 +0000 UTC", "a text in docker, a time in podman"),
    '{{split .Created "T"}}': (None, "a text in docker, a time in podman"),
    "{{.Size}}": ("NUMBER", "ours is what the files add up to"),
    "{{.GraphDriver.Name}}": ("vfs", "another store"),
    "{{.Config.Shell}}": (None, "docker's config has Shell, OCI's has not"),
    "{{.Config.OnBuild}}": (None, "docker's config has OnBuild, OCI's has not"),
    "{{.Config.Healthcheck}}": ("{[CMD-SHELL x y] 0s 5s 0s 0}", "docker has StartInterval, too"),
    "{{range 2}}{{.}}{{end}}": (None, "Go ranges over numbers since 1.22"),
    "{{range .Config.Cmd}}{{$.Os}}{{end}}": (None, "podman's $ is the list of all images"),
    '{{define "T"}}<{{.}}>{{end}}{{template "T" .Os}}': (None, "podman wraps templates in a range"),
    r"{{`\t`}}": ("\t", "podman replaces escapes before it reads the template"),
    "{{truncate .Id 5}}": (None, "podman knows .Id only as the whole template"),
    '{{join .Config.Labels ","}}': (None, "docker joins maps since 27"),
}


def refused_by(podman: Podman, template: str) -> str:
    done = podman.attempt("image", "inspect", "--format", template, _NAME)
    assert done.returncode == 125
    return done.stderr


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with podman_of_its_own() as podman:
        podman.build(_NAME, _DOCKERFILE, f="hello\n")
        yield podman


@pytest.fixture(scope="module")
def image(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> Value:
    store = Store.open(tmp_path_factory.mktemp("store") / "store")
    podman.into(store, _NAME)
    return inspected(store.image(_NAME))


@pytest.fixture(scope="module")
def printed_by_podman(podman: Podman) -> dict[str, str]:
    """What podman prints for each of SAME, asked for in one go."""
    together = _MARK.join(SAME)
    shown = podman.run("image", "inspect", "--format", together, _NAME)
    return dict(zip(SAME, shown.removesuffix("\n").split(_MARK), strict=True))


@pytest.mark.parametrize("template", SAME)
def test_a_template_prints_the_same(
    template: str, image: Value, printed_by_podman: dict[str, str]
) -> None:
    assert inspect_format(parse_template(template), image) == printed_by_podman[template]


@pytest.mark.parametrize("template", REFUSED)
def test_a_template_is_refused_in_the_same_words(
    template: str, podman: Podman, image: Value
) -> None:
    reason = REFUSED[template]
    with pytest.raises(TemplateError) as ours:
        inspect_format(parse_template(template), image)

    assert str(ours.value).endswith(reason)
    assert refused_by(podman, template).strip().endswith(reason)


@pytest.mark.parametrize("template", DIFFERENT)
def test_a_difference_is_the_one_that_is_named(template: str, podman: Podman, image: Value) -> None:
    expected, _ = DIFFERENT[template]
    ours = inspect_format(parse_template(template), image)
    if expected is None:
        assert refused_by(podman, template)
        return
    theirs = podman.run("image", "inspect", "--format", template, _NAME).removesuffix("\n")

    assert theirs != ours
    if "ID" in expected:
        assert len(theirs) == len(expected.replace("ID", "0" * 64))
    elif expected == "NUMBER":
        assert theirs.isdigit()
    else:
        assert theirs == expected
