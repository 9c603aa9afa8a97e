"""Flags take values, as those of docker and podman do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest

from overlayfs_py.cli.commands import command_line
from overlayfs_py.cli.flag_values import plain_flags
from tests.system.processes import attempt, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_COMMAND = click.Command(
    "do",
    params=[
        click.Option(["-a", "--all"], is_flag=True),
        click.Option(["-q", "--quiet"], is_flag=True),
        click.Option(["-H", "--human/--no-human"], default=True),
        click.Option(["-f", "--filter"], multiple=True),
        click.Argument(["names"], nargs=-1),
    ],
)
_RUNNER = click.Command(
    "run",
    params=[
        click.Option(["-q", "--quiet"], is_flag=True),
        click.Argument(["image"]),
        click.Argument(["words"], nargs=-1, type=click.UNPROCESSED),
    ],
)


def plain(text: str, command: click.Command = _COMMAND) -> str:
    return " ".join(plain_flags(command, click.Context(command), text.split()))


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--quiet=true x", "--quiet x"),
        ("--quiet=T --all=1 --all", "--quiet --all --all"),
        ("--quiet=false -q=0 x", "x"),
        ("--quiet --quiet=FALSE", ""),  # the last one counts
        ("--quiet=False --quiet", "--quiet"),
        ("-q=t -aq", "-q -a -q"),
        ("-aq=f x", "-a x"),
        ("--human=false", "--no-human"),
        ("-H=false -H=true", "--no-human -H"),
        ("-H x", "-H x"),
        ("--filter --quiet=false", "--filter --quiet=false"),  # an option's value
        ("-f -q=false", "-f -q=false"),
        ("-f=dangling=true -aflabel=k", "-f dangling=true -a -f label=k"),
        ("--filter=a=b", "--filter=a=b"),
        ("-- --quiet=false", "-- --quiet=false"),
        ("-x --unknown=true -qx", "-x --unknown=true -q -x"),
        ("- --quiet=1 -", "- --quiet -"),
        ("-f", "-f"),
    ],
)
def test_values_of_flags_are_taken_as_docker_takes_them(typed: str, meant: str) -> None:
    assert plain(typed) == meant


def test_the_words_of_another_program_stay() -> None:
    typed = "-q=false debian --quiet=true sh -q=false --quiet=true"

    assert plain(typed, _RUNNER) == "debian --quiet sh -q=false --quiet=true"


@pytest.mark.parametrize("word", ["--quiet=maybe", "-q=", "--quiet=", "-aq=yes"])
def test_another_value_is_an_error(word: str) -> None:
    with pytest.raises(click.BadParameter, match="is neither true nor false"):
        plain(word)


def flags(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Option]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        if isinstance(found, click.Group):
            yield from flags(found, f"{path}{name} ")
        elif found is not None:
            for option in found.params:
                if isinstance(option, click.Option) and option.is_flag:
                    yield f"{path}{name} {option.opts[-1]}", option


def test_every_flag_of_every_command_can_be_turned_off() -> None:
    for name, option in flags(command_line):
        assert option.is_bool_flag, name
        # `=false` leaves the word out, which must mean the same.
        assert option.secondary_opts or option.default is not True, name


@pytest.mark.parametrize(
    "words",
    [
        ["-D", "--debug=false", "-l", "error"],
        ["--log-level=debug", "--config", "/nonexistent"],
        ["-H", "unix:///var/run/docker.sock"],
        ["--host=fd://"],
    ],
)
def test_what_scripts_say_to_docker_before_a_command(
    overlayfs_py: Path, tmp_path: Path, words: list[str]
) -> None:
    shown = run([overlayfs_py, *words, "images", "-q=false", "--root", tmp_path / "store"])

    assert shown.startswith("REPOSITORY")


def test_another_machine_s_daemon_is_refused(overlayfs_py: Path) -> None:
    done = attempt([overlayfs_py, "-H", "tcp://build:2375", "images"])

    assert (done.returncode, done.stdout) == (2, "")
    assert "'tcp://build:2375': there is no daemon here" in done.stderr


def helps(group: click.Group, parent: click.Context | None = None) -> Iterator[tuple[str, str]]:
    ctx = click.Context(group, parent=parent, info_name=group.name)
    for name in group.list_commands(ctx):
        found = group.get_command(ctx, name)
        if isinstance(found, click.Group):
            yield from helps(found, ctx)
        elif found is not None:
            yield name, found.get_help(click.Context(found, parent=ctx, info_name=name))


def test_help_is_printed_as_it_is_meant() -> None:
    for name, text in helps(command_line):
        assert "\\b" not in text, name
        assert "\b" not in text, name
        _, there_are_some, examples = text.partition("  Examples:\n")
        # Each on a line of its own, as typed.
        assert not there_are_some or examples.startswith("    "), name
