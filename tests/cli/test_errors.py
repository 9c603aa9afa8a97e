"""Whatever goes wrong: one line, an exit code, no traceback. Help and completion are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.system.processes import attempt, run

COMMANDS = (
    *(
        "build",
        "chroot",
        "completion",
        "doctor",
        "login",
        "logout",
        "mount",
        "pull",
        "push",
        "umount",
    ),
)

USAGE = {
    "no command": [],
    "no such command": ["moutn"],
    "no such option": ["mount", "--fsat"],
    "no mount point": ["mount", "-o", "lowerdir=/"],
    "no name of a mount point": ["mount", "-o", "lowerdir=/", ""],
    "too many places": ["mount", "-o", "lowerdir=/", "a", "b", "c"],
    "no layer": ["mount", "/mnt"],
    "no value": ["mount", "-o"],
    "nothing to unmount": ["umount"],
    "nothing to enter": ["chroot"],
    "empty layers": ["chroot", ":", "true"],
    "bad volume": ["chroot", "/", "-v", "nonsense", "true"],
    "bad variable": ["chroot", "/", "-e", "=NONSENSE", "true"],
    "no such shell": ["completion", "csh"],
    "nothing to pull": ["pull"],
    "no name": ["pull", "Debian"],
    "neither true nor false": ["pull", "--tls-verify=maybe", "debian"],
    "no platform": ["pull", "--platform=a/b/c/d", "debian"],
    "nothing to push": ["push"],
}


@pytest.mark.parametrize("arguments", USAGE.values(), ids=USAGE.keys())
def test_a_wrong_command_line_is_one_line_and_2(overlayfs_py: Path, arguments: list[str]) -> None:
    done = attempt([overlayfs_py, *arguments])

    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"overlayfs-py: .+\n", done.stderr)


def test_an_empty_name_is_seen(overlayfs_py: Path) -> None:
    done = attempt([overlayfs_py, "umount", ""])

    assert (done.returncode, done.stderr) == (1, "overlayfs-py: '': No such file or directory\n")


UNKNOWN = {
    "moutn": "mount",
    "login2": "overlayfs-py login",
    "lss": "overlayfs-py image ls",
    "unmount": "umount",
    "buildx": "overlayfs-py build",
    "fsck": "overlayfs-py store fsck",
    "help": "--help",
    "version": "--version",
    "image pack": "overlayfs-py layer pack",
    "container stopp": "overlayfs-py container stop",
    "stopp": "did you mean `overlayfs-py stop` or `overlayfs-py top` or",
    "image lss": "overlayfs-py image ls",
    "xyzzy": "overlayfs-py --help",
}


@pytest.mark.parametrize(("words", "near"), UNKNOWN.items(), ids=UNKNOWN.keys())
def test_an_unknown_command_is_told_what_is_near(overlayfs_py: Path, words: str, near: str) -> None:
    done = attempt([overlayfs_py, *words.split()])

    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"overlayfs-py: no command .+\n", done.stderr)
    assert near in done.stderr


@pytest.mark.parametrize(
    ("words", "near"), [("mount --foregound", "--foreground"), ("pull --quite x", "--quiet")]
)
def test_an_unknown_option_is_told_what_is_near(overlayfs_py: Path, words: str, near: str) -> None:
    assert near in attempt([overlayfs_py, *words.split()]).stderr


@pytest.mark.parametrize("group", ["image", "layer", "store"])
def test_a_group_without_a_command_is_one_line(overlayfs_py: Path, group: str) -> None:
    done = attempt([overlayfs_py, group])

    assert done.returncode == 2
    assert done.stderr == f"overlayfs-py: Missing command (see `overlayfs-py {group} --help`)\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(overlayfs_py: Path, command: str) -> None:
    shown = run([overlayfs_py, command, "--help"])

    _, _, examples = shown.partition("Examples:")
    assert f"overlayfs-py {command} " in examples


def test_help_lists_every_command_and_option(overlayfs_py: Path) -> None:
    shown = run([overlayfs_py, "--help"])
    mount = run([overlayfs_py, "mount", "--help"])

    assert all(re.search(rf"^  {command} ", shown, re.MULTILINE) for command in COMMANDS)
    assert re.search(r"^  +lowerdir=A:B +the layers", mount, re.MULTILINE)
    assert r"`\:` and `\,`" in mount


def test_the_manual_names_every_command(overlayfs_py: Path) -> None:
    manual = (Path(__file__).parents[2] / "docs/CLI.md").read_text()

    for command in COMMANDS:
        assert f"overlayfs-py {command}" in manual
        shown = run([overlayfs_py, command, "--help"])
        for option in re.findall(r"^  .*?(--[a-z]+)", shown, re.MULTILINE):
            assert option in manual


def test_the_module_is_the_command(overlayfs_py: Path) -> None:
    python = overlayfs_py.parent / "python"

    assert run([python, "-m", "overlayfs_py", "--version"]) == run([overlayfs_py, "--version"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script(overlayfs_py: Path, shell: str) -> None:
    assert "_OVERLAYFS_PY_COMPLETE" in run([overlayfs_py, "completion", shell])


def test_completion_completes(overlayfs_py: Path) -> None:
    def completed(line: str) -> str:
        asked = {"COMP_LINE": line, "COMP_POINT": str(len(line))}
        return run([overlayfs_py], env={"_OVERLAYFS_PY_COMPLETE": "bash_complete"} | asked)

    _, _, listed = run([overlayfs_py, "--help"]).partition("Commands:")
    names = re.findall(r"^  ([a-z]+) ", listed, re.MULTILINE)
    assert set(names) >= set(COMMANDS)
    assert completed("overlayfs-py ").splitlines() == [f"word {name}" for name in names]
    assert completed("overlayfs-py chroot --k") == "word --keep\n"


def test_a_bug_is_70_with_its_traceback(overlayfs_py: Path, tmp_path: Path) -> None:
    """Nobody can break the program from outside so far; a broken import stands for a bug."""
    (tmp_path / "json.py").write_text("raise RuntimeError('broken')\n")

    done = attempt([overlayfs_py, "doctor"], env={"PYTHONPATH": str(tmp_path)})

    assert done.returncode == 70
    assert "RuntimeError: broken" in done.stderr


@pytest.mark.parametrize("value", [b"\xff\xfe", b"\xed\xa0\x80", b"\x1b[2J"])
@pytest.mark.parametrize("option", [b"context", b"fsname", b"upperdir", b"timeout", b"uidmapping"])
def test_an_option_that_is_no_text_is_one_line(
    overlayfs_py: Path, scratch: Path, option: bytes, value: bytes
) -> None:
    """Bytes that no encoding has, and those that a terminal would obey."""
    (scratch / "layer").mkdir()
    options = b"lowerdir=layer," + option + b"=" + value
    done = subprocess.run(
        [overlayfs_py, "mount", "-o", options, "missing"],
        cwd=scratch,
        capture_output=True,
        timeout=20,
        check=False,
    )

    assert done.returncode not in (0, 70)
    assert len(done.stderr.splitlines()) == 1
    assert b"\x1b" not in done.stderr
