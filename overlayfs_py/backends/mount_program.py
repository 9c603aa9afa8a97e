"""The command line that engines, mount(8) and containerd use: fuse-overlayfs's own.

    PROGRAM [-f] [-d] [-o OPTIONS]... [SOURCE] TARGET

Options may come anywhere and in any number. What is unknown is reported and left alone, because
callers pass on what their users wrote.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from overlayfs_py.backends.mount_options import MountRequest, OptionError, interpret

_FOREGROUND = {"-f"}
_DEBUG = {"-d", "--debug"}
# One thread is all there is; mount(8) adds the others.
_WITHOUT_EFFECT = {"-s", "-n", "-v", "-w"}
_READ_ONLY = {"-r"}


class Invocation(NamedTuple):
    """A command line, read."""

    request: MountRequest
    foreground: bool
    debug: bool


class _Words(NamedTuple):
    options: list[str]
    flags: set[str]
    places: list[str]


def read(arguments: list[str]) -> Invocation:
    """Return what the arguments (without the program's name) ask for.

    Raises:
        OptionError: they cannot be right.
    """
    words = _sort(arguments)
    if not 1 <= len(words.places) <= 2:
        raise OptionError("mount point", f"one is needed, {len(words.places)} are given")
    source = words.places[0] if len(words.places) == 2 else None
    texts = [*words.options, *(["ro"] if words.flags & _READ_ONLY else [])]
    request = interpret(texts, os.fsencode(words.places[-1]), source)
    known = _FOREGROUND | _DEBUG | _WITHOUT_EFFECT | _READ_ONLY
    for flag in sorted(words.flags - known):
        request.unknown.append(f"{flag}: unknown option, ignored")
    return Invocation(request, bool(words.flags & _FOREGROUND), bool(words.flags & _DEBUG))


def _sort(arguments: list[str]) -> _Words:
    words = _Words([], set(), [])
    rest = iter(arguments)
    for word in rest:
        if word == "--":
            words.places.extend(rest)
        elif word == "-o":
            words.options.append(_value(word, next(rest, None)))
        elif word.startswith("-o"):
            words.options.append(word[2:])
        elif word.startswith("-") and word != "-":
            words.flags.add(word)
        else:
            words.places.append(word)
    return words


def _value(option: str, value: str | None) -> str:
    if value is None:
        raise OptionError(option, "needs a value")
    return value
