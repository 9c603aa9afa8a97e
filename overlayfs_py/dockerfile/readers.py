"""A reader for each instruction: words become the fields of its type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.dockerfile.copy_readers import read_add, read_copy
from overlayfs_py.dockerfile.flags import FlagNames
from overlayfs_py.dockerfile.healthcheck_reader import read_healthcheck
from overlayfs_py.dockerfile.instructions import (
    Arg,
    Argument,
    Cmd,
    CommandLine,
    Entrypoint,
    Env,
    Expose,
    Instruction,
    Label,
    Maintainer,
    Pair,
    Shell,
    Stage,
    StopSignal,
    User,
    Volume,
    Workdir,
)
from overlayfs_py.dockerfile.run_reader import read_run
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.dockerfile.words import Word, split_first, split_list, split_quoted
from overlayfs_py.late_import import late_pattern
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from overlayfs_py.dockerfile.call import Call

_STAGE_NAME = late_pattern("[a-z][a-z0-9_.-]*")


def _read_from(call: Call) -> Stage:
    flags = call.flags(FlagNames(single=("platform",)))
    words = split_list(call.rest)
    if not words:
        raise call.error("FROM lacks an image: FROM IMAGE [AS NAME]")
    if len(words) not in (1, 3) or (len(words) == 3 and words[1].text.lower() != "as"):
        tag = f", did you mean {words[0].text}:{words[1].text}?" if len(words) == 2 else ""
        raise call.error(
            f"{quoted(words[1].text)} after the image: expected AS NAME{tag}", words[1]
        )
    call.template(words[0])
    name = words[2].text.lower() if len(words) == 3 else None
    if name is not None and _STAGE_NAME.fullmatch(name) is None:
        raise call.error(
            f"{quoted(words[2].text)} names no stage: a letter, then letters, digits and - _ .",
            words[2],
        )
    return Stage(
        **call.common(),
        base=words[0].text,
        platform=flags.text("platform"),
        name=name,
        as_word=words[1].text if name is not None else "",
        written_name=words[2].text if name is not None else "",
    )


def _read_arg(call: Call) -> Arg:
    call.require_no_flags()
    words = split_quoted(call.rest, call.escape)
    if not words:
        raise call.error("ARG lacks a name: ARG NAME[=DEFAULT]")
    found = []
    for word in words:
        name, equals, default = word.text.partition("=")
        if not name:
            raise call.error("ARG lacks a name before =", word)
        _require_readable_pair(call, word, name, default)
        found.append(Argument(name, default if equals else None))
    return Arg(**call.common(), arguments=tuple(found))


def _read_env(call: Call) -> Env:
    return Env(**_pairs(call), **call.common())


def _read_label(call: Call) -> Label:
    return Label(**_pairs(call), **call.common())


def _pairs(call: Call) -> dict[str, tuple[Pair, ...]]:
    call.require_no_flags()
    words = split_quoted(call.rest, call.escape)
    if not words:
        raise call.error(f"{call.name} lacks a pair: {call.name} NAME=VALUE")
    if "=" not in words[0].text:
        return {"pairs": (_old_pair(call),)}
    return {"pairs": tuple(_pair(call, word) for word in words)}


def _old_pair(call: Call) -> Pair:
    name, value = split_first(call.rest)
    if not value.text and value.offset == name.end:
        raise call.error(f"{call.name} lacks a value: {call.name} NAME=VALUE", name)
    call.template(name)
    call.template(value)
    return Pair(name.text, value.text, old_form=True)


def _pair(call: Call, word: Word) -> Pair:
    name, equals, value = word.text.partition("=")
    if not equals:
        raise call.error(f"{quoted(word.text)} lacks =: each is NAME=VALUE, without spaces", word)
    if not name:
        raise call.error(f"{call.name} lacks a name before =", word)
    _require_readable_pair(call, word, name, value)
    return Pair(name, value)


def _require_readable_pair(call: Call, word: Word, name: str, value: str) -> None:
    # Each by itself: a quote that begins in the name does not end in the value.
    call.template(Word(name, word.offset))
    call.template(Word(value, word.offset + len(name) + len("=")))


def _read_workdir(call: Call) -> Workdir:
    return Workdir(path=_readable(call, "PATH"), **call.common())


def _read_user(call: Call) -> User:
    return User(user=_readable(call, "USER[:GROUP]"), **call.common())


def _read_stopsignal(call: Call) -> StopSignal:
    return StopSignal(signal=_readable(call, "SIGNAL"), **call.common())


def _readable(call: Call, what: str) -> str:
    found = call.one_word(what)
    call.template(call.rest)
    return found


def _read_maintainer(call: Call) -> Maintainer:
    return Maintainer(author=call.one_word("NAME"), **call.common())


def _read_expose(call: Call) -> Expose:
    call.one_word("PORT[/PROTOCOL]")
    words = split_list(call.rest)
    for word in words:
        call.template(word)
    return Expose(ports=tuple(sorted(word.text for word in words)), **call.common())


def _read_volume(call: Call) -> Volume:
    call.one_word("PATH")
    words = call.json
    if words is None:
        for word in split_list(call.rest):
            call.template(word)
        words = tuple(word.text for word in split_list(call.rest))
    paths = tuple(word.strip(SPACES) for word in words)
    if not paths or "" in paths:
        raise call.error("VOLUME lacks a path: VOLUME PATH", call.rest)
    return Volume(paths=paths, **call.common())


def _read_shell(call: Call) -> Shell:
    call.one_word('["/bin/sh", "-c"]')
    if not call.json:
        raise call.error('SHELL takes a JSON array of strings: ["/bin/sh", "-c"]', call.rest)
    return Shell(words=call.json, **call.common())


def _read_cmd(call: Call) -> Cmd:
    return Cmd(command=_command(call), **call.common())


def _read_entrypoint(call: Call) -> Entrypoint:
    return Entrypoint(command=_command(call), **call.common())


def _command(call: Call) -> CommandLine:
    call.one_word('COMMAND, or ["PROGRAM", "ARGUMENT"]')
    if call.json is not None:
        return CommandLine(call.json, shell=False)
    return CommandLine((call.rest.text,), shell=True)


def _read_onbuild(call: Call) -> Instruction:
    # A trigger is read before it comes to this: an ONBUILD in an ONBUILD.
    raise call.error("ONBUILD cannot be read by itself")


READERS: Mapping[str, Callable[[Call], Instruction]] = {
    "ADD": read_add,
    "ARG": _read_arg,
    "CMD": _read_cmd,
    "COPY": read_copy,
    "ENTRYPOINT": _read_entrypoint,
    "ENV": _read_env,
    "EXPOSE": _read_expose,
    "FROM": _read_from,
    "HEALTHCHECK": read_healthcheck,
    "LABEL": _read_label,
    "MAINTAINER": _read_maintainer,
    "ONBUILD": _read_onbuild,
    "RUN": read_run,
    "SHELL": _read_shell,
    "STOPSIGNAL": _read_stopsignal,
    "USER": _read_user,
    "VOLUME": _read_volume,
    "WORKDIR": _read_workdir,
}
