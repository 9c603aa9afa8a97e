"""What the documents and help texts say to type is what the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

from overlayfs_py.cli.commands import command_line
from overlayfs_py.cli.flag_values import plain_flags

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHECKOUT = Path(__file__).parents[2]
_PAGES = (_CHECKOUT / "README.md", *sorted((_CHECKOUT / "docs").glob("*.md")))
_OPTION = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")


def _commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in group.list_commands(None):  # type: ignore[arg-type]
        found = group.get_command(click.Context(group), name)
        assert found is not None
        if isinstance(found, click.Group):
            yield from _commands(found, (*path, name))
        else:
            yield (*path, name)


def _found(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that words begin with, and the words that are for it."""
    found: click.Command = command_line
    while isinstance(found, click.Group) and words:
        below = found.get_command(click.Context(found), words[0])
        if below is None:
            break
        found, words = below, words[1:]
    return found, words


def _examples(path: tuple[str, ...]) -> list[str]:
    command, _ = _found(list(path))
    lines = (command.help or "").partition("Examples:")[2].splitlines()
    return [line.strip() for line in lines if "overlayfs-py" in line]


@pytest.mark.parametrize("path", tuple(_commands(command_line)), ids=" ".join)
def test_the_examples_of_a_command_can_be_typed(path: tuple[str, ...]) -> None:
    examples = _examples(path)

    assert examples
    for line in examples:
        # What another command prints stands for something that is typed.
        text = re.sub(r"\$\([^)]*\)", "word", line[line.index("overlayfs-py") :])
        words = shlex.split(re.split(r" (?:\||>|&&) |\)\"", text)[0], comments=True)[1:]
        command, rest = _found(words)
        if isinstance(command, click.Group):
            assert rest, line
            continue  # `snapshot CONTAINER`: it takes more than its own words
        context = click.Context(command, info_name=path[-1])
        command.make_context(path[-1], plain_flags(command, context, rest), parent=None)


def _lines() -> Iterator[tuple[str, str]]:
    for page in _PAGES:
        for line in page.read_text().splitlines():
            for found in re.finditer(r"(?:^    |`)overlayfs-py ([^`]+)", line):
                yield page.name, found[1]


@pytest.mark.parametrize(("page", "line"), tuple(_lines()))
def test_the_options_of_the_documents_are_there(page: str, line: str) -> None:
    # Several alternatives may stand for one word: `image ls|history`.
    words = line.replace("[", " ").replace("]", " ").split()
    command, _ = _found([word.partition("|")[0].rstrip(",") for word in words])
    if isinstance(command, click.Group):
        return
    known = {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    known |= {"-h", "--help"}
    single = "".join(name[1] for name in known if len(name) == 2)
    text = re.split(r" -- | && |\s{3,}", line)[0]
    for option in _OPTION.findall(text.split(" sh -")[0]):
        is_known = option in known or (option[1] != "-" and set(option[1:]) <= set(single))
        assert is_known, f"{page}: {line}: {option}"
