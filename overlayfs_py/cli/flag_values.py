"""Flags with a value: `--quiet=false`, `-aq=1`, as every flag of docker and podman has it.

click knows flags without a value alone. So a command line is put into click's words before click
reads it. Source: spf13/pflag, flag.go (parseLongArg, parseSingleShortArg) and bool.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.named_tuple import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Go's strconv.ParseBool.
TRUTHS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


class _Token(NamedTuple):
    """One option with its value, or one other word."""

    words: tuple[str, ...]
    flag: click.Option | None = None  # None: not a flag
    is_on: bool = True


def plain_flags(command: click.Command, ctx: click.Context, words: Sequence[str]) -> list[str]:
    """Return the words of a command line with no value at any flag; the last of a flag counts.

    Raises:
        click.BadParameter: a value is neither true nor false.
    """
    tokens = list(_Scanner(command, ctx).tokens(words))
    last = {token.flag.name: token.is_on for token in tokens if token.flag is not None}
    return [
        word
        for token in tokens
        if token.flag is None or (token.is_on and last[token.flag.name])
        for word in token.words
    ]


class _Scanner:
    def __init__(self, command: click.Command, ctx: click.Context) -> None:
        options = [each for each in command.get_params(ctx) if isinstance(each, click.Option)]
        self._ctx = ctx
        self._options = {name: option for option in options for name in option.opts}
        self._room = _own_arguments(command)

    def tokens(self, words: Sequence[str]) -> Iterator[_Token]:
        rest = iter(words)
        for word in rest:
            if word == "--":
                yield _Token((word, *rest))
            elif word.startswith("--"):
                yield from self._long(word, rest)
            elif word.startswith("-") and word != "-":
                yield from self._short(word, rest)
            elif self._room == 0:
                yield _Token((word, *rest))
            else:
                self._room -= 1
                yield _Token((word,))

    def _long(self, word: str, rest: Iterator[str]) -> Iterator[_Token]:
        name, equals, value = word.partition("=")
        option = self._options.get(name)
        if option is not None and _is_switch(option):
            yield self._flag(option, name, value if equals else None)
        elif option is not None and not equals and _takes_value(option):
            yield _Token((word, *_next(rest)))
        else:
            yield _Token((word,))

    def _short(self, word: str, rest: Iterator[str]) -> Iterator[_Token]:
        """Take a word of one-letter options apart: `-aq=false`, `-fdangling=true`."""
        for at in range(1, len(word)):
            name, after = f"-{word[at]}", word[at + 1 :]
            option = self._options.get(name)
            if option is None or not (_is_switch(option) or _takes_value(option)):
                yield _Token((f"-{word[at:]}",))  # click says what is wrong with it
                return
            if _takes_value(option):
                value = (after.removeprefix("="),) if after else tuple(_next(rest))
                yield _Token((name, *value))
                return
            yield self._flag(option, name, after[1:] if after.startswith("=") else None)
            if after.startswith("="):
                return

    def _flag(self, option: click.Option, name: str, value: str | None) -> _Token:
        if value is None:
            return _Token((name,), option)
        if value not in TRUTHS:
            raise click.BadParameter(f"{value!r} is neither true nor false", self._ctx, option)
        if TRUTHS[value] or not option.secondary_opts:
            return _Token((name,), option, TRUTHS[value])
        return _Token((option.secondary_opts[0],), option)


def _own_arguments(command: click.Command) -> int:
    """How many arguments come before those that are another command's line; -1: no such."""
    if isinstance(command, click.Group):
        return 0
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    foreign = [at for at, each in enumerate(arguments) if each.type is click.UNPROCESSED]
    return foreign[0] if foreign else -1


def _is_switch(option: click.Option) -> bool:
    return option.is_flag and option.is_bool_flag


def _takes_value(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def _next(rest: Iterator[str]) -> list[str]:
    following = next(rest, None)
    return [] if following is None else [following]
