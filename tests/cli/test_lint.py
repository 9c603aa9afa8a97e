"""`lint` as a command: what it reads, prints and ends with."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_TEXT = "FROM debian:12\nRUN sudo make\nCOPY . /app\nMAINTAINER me\n"


def _lint(
    program: Path, directory: Path, *words: str, text: bytes | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, "lint", *words],
        cwd=directory,
        check=False,
        capture_output=True,
        input=None if text is None else text.decode("latin-1"),
        text=True,
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text(_TEXT)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "pack").write_bytes(bytes(3_000_000))
    return tmp_path


def test_findings_for_people(overlayfs_py: Path, directory: Path) -> None:
    done = _lint(overlayfs_py, directory, "--skip", "NoIgnoreFile", "--skip", "DL4000")

    assert done.returncode == 1
    assert done.stdout == (
        "Dockerfile:2:5: warning: sudo in a build, which runs as root until USER says otherwise"
        "  [Sudo (DL3004)]\n"
        "    RUN sudo make\n"
        "  costs a program with root's rights in the image\n"
        "  write USER root before the RUN, and the other USER after it\n"
        "\n"
        "Dockerfile:3:1: warning: this copies .git (3MB: the whole history of the project)"
        "  [CopyTooWide]\n"
        "    COPY . /app\n"
        "  costs 3MB: bytes in the image, and a change of any of them throws the cache away\n"
        "  write .dockerignore: .git\n"
        "\n"
        "Dockerfile: 2 warning\n"
    )


def test_what_is_ignored_costs_nothing(overlayfs_py: Path, directory: Path) -> None:
    (directory / "Dockerfile.dockerignore").write_text(".git\n")

    done = _lint(overlayfs_py, directory, "--format", "{{.Rule}} {{.Line}} {{.Severity}}")
    assert done.stdout == "Sudo 2 warning\nMaintainerDeprecated 4 style\n"


def test_sizes_are_of_what_the_build_sees(overlayfs_py: Path, directory: Path) -> None:
    (directory / ".dockerignore").write_text("**/pack\n")
    (directory / ".git" / "HEAD").write_bytes(bytes(41))

    done = _lint(overlayfs_py, directory, "--format", "{{.Rule}} {{.Bytes}}")
    assert "CopyTooWide 41\n" in done.stdout


@pytest.mark.parametrize(
    ("severity", "code"), [("error", 0), ("warning", 1), ("style", 1), ("never", 0)]
)
def test_the_exit_code_is_asked_for(
    overlayfs_py: Path, directory: Path, severity: str, code: int
) -> None:
    assert _lint(overlayfs_py, directory, "--fail-on", severity).returncode == code


def test_nothing_to_say(overlayfs_py: Path, tmp_path: Path) -> None:
    done = _lint(overlayfs_py, tmp_path, "-", text=b"FROM scratch\nCOPY a /b\n")

    assert (done.returncode, done.stdout) == (0, "stdin: nothing to say\n")


def test_json_has_an_object_per_finding(overlayfs_py: Path, directory: Path) -> None:
    rows = [
        json.loads(line)
        for line in _lint(overlayfs_py, directory, "--json").stdout.split("\n")[:-1]
    ]

    wide = next(row for row in rows if row["Rule"] == "CopyTooWide")
    assert (wide["Line"], wide["Bytes"], wide["File"]) == ("3", "3000000", "Dockerfile")


def test_sarif_names_rules_and_places(overlayfs_py: Path, directory: Path) -> None:
    (run,) = json.loads(_lint(overlayfs_py, directory, "--format", "sarif").stdout)["runs"]

    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    sudo = next(result for result in run["results"] if result["ruleId"] == "Sudo")
    assert sudo["level"] == "warning"
    assert sudo["locations"][0]["physicalLocation"]["region"]["startLine"] == 2


def test_a_rule_that_is_none(overlayfs_py: Path, directory: Path) -> None:
    done = _lint(overlayfs_py, directory, "--skip", "Sodo")

    assert done.returncode == 2
    assert "no rule 'Sodo', did you mean Sudo?" in done.stderr


def test_a_dockerfile_that_is_none(overlayfs_py: Path, tmp_path: Path) -> None:
    done = _lint(overlayfs_py, tmp_path, "-", text=b"FROM a\nRUM \x1b[2J x\n")

    assert done.returncode == 1
    assert done.stderr == (
        "overlayfs-py: stdin:2:1: unknown instruction 'RUM', did you mean RUN?\n"
        "  RUM \\x1b[2J x\n"
        "  ^\n"
    )


def test_rules_are_listed(overlayfs_py: Path, tmp_path: Path) -> None:
    done = _lint(overlayfs_py, tmp_path, "--list-rules")

    assert done.returncode == 0
    assert [line.split()[:3] for line in done.stdout.split("\n") if "DL3009" in line] == [
        ["AptListsLeftBehind", "warning", "DL3009"]
    ]


def test_a_context_without_end_is_not_looked_through(overlayfs_py: Path, tmp_path: Path) -> None:
    # A link to itself, a pipe, a directory that cannot be read: sizes need none of them.
    (tmp_path / "Dockerfile").write_text("FROM a:1\nCOPY . /b\n")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone").symlink_to("nowhere")
    subprocess.run(["mkfifo", tmp_path / "pipe"], check=True)

    assert _lint(overlayfs_py, tmp_path).returncode == 0
