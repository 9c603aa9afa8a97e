from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.cli.image import MODULES
from overlayfs_py.image.config import RunConfig
from overlayfs_py.image.digest import hex_of
from overlayfs_py.store.store import Store
from tests.support.stored import make_image
from tests.system.processes import attempt, run

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

_BASE = {"etc/os-release": "ID=sample\n", "link": "-> /etc/os-release"}
_RUN = RunConfig(cmd=("sh", "-c", "a b"), env=("A=1", "B=2"), labels={"k": "v"})


class Commands:
    """The program on a store of its own, with two images of one base."""

    def __init__(self, program: Path, root: Path) -> None:
        self._program = program
        self.root = root
        self.store = Store.open(root)
        self.one = make_image(self.store, "one:1", layers=[_BASE], run=_RUN)
        self.two = make_image(
            self.store,
            "localhost:5000/team/two:2",
            "two:latest",
            layers=[_BASE, {"new": "12345", "etc/.wh.os-release": ""}],
            created="2024-11-14T22:13:20Z",
        )

    def run(self, *words: str) -> str:
        return run([self._program, *self._with_root(words)])

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        return attempt([self._program, *self._with_root(words)])

    def refusal(self, *words: str) -> tuple[int, str]:
        done = self.attempt(*words)
        return done.returncode, done.stderr.removeprefix("overlayfs-py: ").strip()

    def _with_root(self, words: tuple[str, ...]) -> list[str]:
        at = 2 if words[0] == "image" else 1
        return [*words[:at], f"--root={self.root}", *words[at:]]


@pytest.fixture
def commands(overlayfs_py: Path, tmp_path: Path) -> Commands:
    return Commands(overlayfs_py, tmp_path / "store")


def test_ls_lists_each_name(commands: Commands) -> None:
    lines = commands.run("image", "ls").splitlines()

    assert [line.split()[:3] for line in lines] == [
        ["REPOSITORY", "TAG", "IMAGE"],
        ["two", "latest", hex_of(commands.two.image_id)[:12]],
        ["localhost:5000/team/two", "2", hex_of(commands.two.image_id)[:12]],
        ["one", "1", hex_of(commands.one.image_id)[:12]],
    ]
    assert [line.split()[-1] for line in lines] == ["SIZE", "15B", "15B", "10B"]


def test_images_prints_each_id_once(commands: Commands) -> None:
    assert commands.run("images", "-q", "--no-trunc").split() == [
        commands.two.image_id,
        commands.one.image_id,
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["two"], ["two:latest"]),
        (["*two*"], ["two:latest", "localhost:5000/team/two:2"]),
        (["localhost:5000/team/two:2"], ["localhost:5000/team/two:2"]),
        (["three"], []),
        (["--filter", "label=k"], ["one:1"]),
        (["--filter", "label=k=w"], []),
        (["--filter", "reference=one", "--filter", "dangling=false"], ["one:1"]),
        (["--filter", "dangling=true"], []),
    ],
)
def test_ls_shows_what_fits(commands: Commands, words: list[str], expected: list[str]) -> None:
    form = "{{.Repository}}:{{.Tag}}"

    assert commands.run("image", "ls", "--format", form, *words).split() == expected


def test_ls_for_programs(commands: Commands) -> None:
    told = [json.loads(line) for line in commands.run("images", "--json").splitlines()]

    assert [(image["Repository"], image["SharedSize"]) for image in told][-1] == ("one", "10B")


def test_history_shows_steps(commands: Commands) -> None:
    form = "{{.CreatedBy}} {{.Size}}"

    assert commands.run("history", "--format", form, "two").splitlines() == [
        "ADD layer 1 5B",
        "ADD layer 0 10B",
    ]
    assert commands.run("image", "history", "--human=false", "one:1").split()[-6:] == [
        *(hex_of(commands.one.image_id)[:12], "2023-11-14T22:13:20Z", "ADD", "layer", "0", "10"),
    ]


def test_inspect_prints_json_or_a_template(commands: Commands) -> None:
    (told,) = json.loads(commands.run("inspect", "one:1"))

    assert (told["Id"], told["Config"]["Cmd"]) == (commands.one.image_id, ["sh", "-c", "a b"])
    assert json.loads(commands.run("image", "inspect", "--format=json", "one:1")) == [told]
    assert commands.run("inspect", "-f", "{{.Config.Cmd}} {{.Size}}", "one:1", "two") == (
        "[sh -c a b] 10\n[] 15\n"
    )


def test_an_image_may_be_meant_by_its_id(commands: Commands) -> None:
    image_id = commands.one.image_id

    for text in (image_id, hex_of(image_id)[:12], "docker.io/library/one:1"):
        assert commands.run("inspect", "-f", "{{.Id}}", text).strip() == image_id


def test_what_inspect_does_not_find_it_says_and_shows_the_rest(commands: Commands) -> None:
    done = commands.attempt("inspect", "-f", "{{.Size}}", "nope", "one:1")

    assert (done.returncode, done.stdout) == (1, "10\n")
    assert done.stderr == "overlayfs-py: nope: no such container or image\n"


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("{{.Size", (64, "template parsing error: template: :1: unclosed action")),
        ("{{foo}}", (64, 'template parsing error: template: :1: function "foo" not defined')),
        (
            "{{.Foo}}",
            (
                1,
                'template parsing error: template: :1:2: executing "" at <.Foo>: '
                'map has no entry for key "Foo"',
            ),
        ),
    ],
)
def test_a_bad_template_is_one_line(
    commands: Commands, form: str, expected: tuple[int, str]
) -> None:
    assert commands.refusal("inspect", "-f", form, "one:1") == expected


def test_files_lists_what_the_layers_show(commands: Commands) -> None:
    assert commands.run("image", "files", "two").split() == ["/", "/etc", "/link", "/new"]
    assert commands.run("image", "files", "one:1", "etc").split() == ["/etc", "/etc/os-release"]
    long = commands.run("image", "files", "-l", "one:1", "/link")
    assert long.startswith("lrwxrwxrwx ")
    assert long.endswith("/link -> /etc/os-release\n")


def test_files_for_programs(commands: Commands) -> None:
    lines = commands.run("image", "files", "--json", "two").splitlines()
    told = {file["path"]: file for file in map(json.loads, lines)}

    assert told["/new"] | {"mtime_ns": 0} == {
        "path": "/new",
        "type": "file",
        "mode": "0644",
        "uid": 0,
        "gid": 0,
        "size": 5,
        "mtime_ns": 0,
        "layer": commands.two.config.diff_ids[1],
    }
    assert told["/link"]["target"] == "/etc/os-release"


def test_a_name_that_a_terminal_would_obey_is_escaped(commands: Commands) -> None:
    make_image(commands.store, "odd:1", layers=[{"a\nb\x1b[31m": ""}])

    assert commands.run("image", "files", "odd:1") == "/\n/a\\x0ab\\x1b[31m\n"


def test_cat_prints_a_file(commands: Commands) -> None:
    assert commands.run("image", "cat", "one:1", "/link") == "ID=sample\n"
    assert commands.refusal("image", "cat", "one:1", "/etc") == (1, "/etc: Is a directory")
    assert commands.refusal("image", "cat", "two", "/link") == (
        1,
        "/link: No such file or directory",
    )


def test_diff_says_what_differs(commands: Commands) -> None:
    done = commands.attempt("image", "diff", "one:1", "two")

    assert (done.returncode, done.stdout) == (1, "D /etc/os-release\nA /new\n")
    assert commands.attempt("image", "diff", "two", "two").returncode == 0


def test_diff_for_programs(commands: Commands) -> None:
    done = commands.attempt("image", "diff", "--json", "one:1", "two")
    deleted, added = map(json.loads, done.stdout.splitlines())

    assert (deleted["kind"], deleted["before"]["path"]) == ("deleted", "/etc/os-release")
    assert (added["kind"], added["after"]["size"]) == ("added", 5)


def test_tree_draws_shared_layers(commands: Commands) -> None:
    base, top = (hex_of(diff_id)[:12] for diff_id in commands.two.config.diff_ids)

    assert commands.run("image", "tree").splitlines() == [
        f"└── {base}     10B  one:1",
        f"    └── {top}      5B  two:latest, localhost:5000/team/two:2",
    ]
    assert commands.run("image", "tree", "two").splitlines()[2:] == [
        "Size:     15B",
        "Image Layers",
        f"├── {base}     10B  one:1",
        f"└── {top}      5B  two:latest, localhost:5000/team/two:2",
    ]


def test_tag_and_rmi_give_and_take_names(commands: Commands) -> None:
    commands.run("tag", "one:1", "other")
    assert commands.run("images", "-q", "other").split() == [hex_of(commands.one.image_id)[:12]]

    assert commands.run("rmi", "other") == "Untagged: other:latest\n"
    assert commands.run("image", "rm", "one:1").splitlines() == [
        "Untagged: one:1",
        f"Deleted: {commands.one.image_id}",
    ]
    # The layer stays: another image has it.
    assert commands.run("image", "files", "two", "new") == "/new\n"


def test_rmi_goes_on_after_what_it_cannot_remove(commands: Commands) -> None:
    done = commands.attempt("rmi", "nope", "one:1")

    assert done.returncode == 31
    assert done.stdout.startswith("Untagged: one:1\n")
    assert commands.refusal("rmi", "-f", "nope") == (0, "nope: no such image")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tag", "one:1", "Bad"], "Bad: repository name 'library/Bad' must be lowercase"),
        (["tag", "one:1"], "Missing argument 'NAME' (see `overlayfs-py tag --help`)"),
        (
            ["images", "--filter", "x=y"],
            "Invalid value for --filter: 'x=y' is not before=, dangling=, label=, label!=,"
            " reference=, since= or until= (see `overlayfs-py images --help`)",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line(
    commands: Commands, words: list[str], expected: str
) -> None:
    assert commands.refusal(*words) == (2, expected)


@pytest.mark.parametrize("name", MODULES)
def test_each_command_has_help_with_examples(overlayfs_py: Path, name: str) -> None:
    shown = run([overlayfs_py, "image", name, "--help"])

    assert "Examples:" in shown
    assert "--root" in shown or name == "umount"  # which needs no store


def test_tab_completes_names_of_images(commands: Commands, overlayfs_py: Path) -> None:
    line = f"overlayfs-py image cat --root {commands.root} o"
    asked = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_WORDBREAKS": " :"}

    told = run([overlayfs_py], env={"_OVERLAYFS_PY_COMPLETE": "bash_complete"} | asked)

    assert told == "word one:1\n"


def test_without_a_root_the_store_is_where_data_belongs(overlayfs_py: Path, tmp_path: Path) -> None:
    environment = {"XDG_DATA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    assert run([overlayfs_py, "images", "-q"], env=environment) == ""
    assert (tmp_path / "overlayfs-py" / "store.json").exists()


def test_a_template_counts_more_than_quiet(commands: Commands) -> None:
    one = hex_of(commands.one.image_id)[:12]

    assert commands.run("images", "-q", "--format", "{{.Tag}}", "one") == "1\n"
    assert commands.run("images", "-q", "--format", "table", "one") == f"{one}\n"
    assert commands.run("history", "-q", "--format", "{{.Size}}", "one:1") == "10B\n"
    assert commands.run("history", "-q", "one:1") == f"{one}\n"


def test_ls_has_docker_s_word_raw(commands: Commands) -> None:
    def fields(*words: str) -> list[str]:
        lines = commands.run("images", "--format", "raw", *words, "one").splitlines()
        return [line.partition(": ")[0] for line in lines if line]

    assert fields() == ["repository", "tag", "image_id", "created_at", "virtual_size"]
    assert fields("-q") == ["image_id"]
    assert fields("--digests")[2] == "digest"


def test_digests_adds_its_column_to_a_table(commands: Commands) -> None:
    shown = commands.run("images", "--digests", "--format", "table {{.Tag}}", "one")

    assert shown == "TAG       DIGEST\n1         <none>\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["before=two"], ["one:1"]),
        (["since=one:1"], ["two:latest", "localhost:5000/team/two:2"]),
        (["label!=k"], ["two:latest", "localhost:5000/team/two:2"]),
        (["label!=k=w", "reference=one"], ["one:1"]),
        (["until=2024-01-01"], ["one:1"]),
        (["until=1h30m", "reference=one"], ["one:1"]),
        (["until=1700000001"], ["one:1"]),
        (["dangling=F", "reference=one"], ["one:1"]),
    ],
)
def test_ls_has_docker_s_filters(commands: Commands, words: list[str], expected: list[str]) -> None:
    filters = [word for text in words for word in ("--filter", text)]

    shown = commands.run("image", "ls", "--format", "{{.Repository}}:{{.Tag}}", *filters)

    assert shown.split() == expected


@pytest.mark.parametrize("text", ["before=nope", "until=soon", "dangling=maybe", "before!=one:1"])
def test_a_filter_that_says_nothing_is_an_error(commands: Commands, text: str) -> None:
    code, message = commands.refusal("images", "-f", text)

    assert code in {2, 31}
    assert text.partition("=")[2] in message


def test_inspect_takes_docker_s_type(commands: Commands) -> None:
    shown = commands.run("inspect", "--type=image", "-s", "-f", "{{.Id}}", "one:1")

    assert shown.strip() == commands.one.image_id
    assert commands.refusal("inspect", "--type", "volume", "one:1") == (
        1,
        "--type volume: container or image is needed",
    )


def test_docker_s_other_names_of_commands(commands: Commands) -> None:
    assert commands.run("image", "list", "-q", "one") == commands.run("images", "-q", "one")
    assert commands.run("image", "remove", "--no-prune", "one:1").startswith("Untagged: one:1\n")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["until=2024-01-01"], {"two"}),
        (["until=2023-01-01"], {"one", "two"}),
        (["label=k"], {"two"}),
        (["label!=k"], {"one"}),
        (["label!=k", "until=2024-01-01"], {"one", "two"}),
    ],
)
def test_prune_removes_what_fits(commands: Commands, words: list[str], left: set[str]) -> None:
    filters = [word for text in words for word in ("--filter", text)]

    commands.run("image", "prune", "-a", "-f", *filters)

    listed = commands.run("images", "--format", "{{.Repository}}").split()
    assert {name.rpartition("/")[2] for name in listed} == left
    assert commands.refusal("image", "prune", "-f", "--filter", "before=one")[0] == 2
