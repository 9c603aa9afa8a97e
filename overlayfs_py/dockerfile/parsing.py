"""The text of a Dockerfile as stages of typed instructions."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.dockerfile.call import Call
from overlayfs_py.dockerfile.errors import DockerfileError, Position, did_you_mean
from overlayfs_py.dockerfile.heredocs import find_marks
from overlayfs_py.dockerfile.instructions import Arg, Dockerfile, Instruction, Onbuild, Stage
from overlayfs_py.dockerfile.lines import Source, with_last_line
from overlayfs_py.dockerfile.readers import READERS
from overlayfs_py.dockerfile.spaces import SPACES
from overlayfs_py.dockerfile.words import Word, split_first, stripped
from overlayfs_py.late_import import late_pattern
from overlayfs_py.terminal_text import quoted

if TYPE_CHECKING:
    from overlayfs_py.dockerfile.heredocs import Heredoc
    from overlayfs_py.dockerfile.lines import Statement

_MOST_INSTRUCTIONS = 5000  # an image has at most 127 layers
_WITH_HEREDOCS = ("ADD", "COPY", "RUN")
_NO_TRIGGERS = {
    "ONBUILD": "ONBUILD ONBUILD is not allowed: an image passes nothing to its grandchildren",
    "FROM": "FROM cannot be an ONBUILD trigger",
    "MAINTAINER": "MAINTAINER cannot be an ONBUILD trigger: use LABEL",
}
_ONBUILD = late_pattern(rf"[{SPACES}]*onbuild[\t\n\f\r ]*", re.IGNORECASE)


def parse(text: bytes, name: str) -> Dockerfile:
    """Read a Dockerfile; `name` is what messages call it.

    Raises:
        DockerfileError: it cannot be built, whatever the values of its arguments are.
    """
    source = Source(text, name)
    arguments: list[Arg] = []
    stages: list[tuple[Stage, list[Instruction]]] = []
    count = 0
    while (statement := source.next_statement()) is not None:
        count += 1
        if count > _MOST_INSTRUCTIONS:
            raise statement.error(0, f"more than {_MOST_INSTRUCTIONS} instructions")
        instruction = _instruction(statement)
        if isinstance(instruction, Stage):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            raise statement.error(
                _start(statement),
                f"{instruction.NAME} before the first FROM: only ARG may stand there",
            )
    if not stages:
        what = "only ARG, no FROM" if arguments else "no instructions"
        raise source.error(Position(name, 1), f"{what}: a Dockerfile needs FROM")
    whole = tuple(structs.replace(stage, instructions=tuple(below)) for stage, below in stages)
    return Dockerfile(name, source.directives, tuple(arguments), whole)


def parse_trigger(expression: str, name: str) -> Instruction:
    """Read one instruction, an ONBUILD trigger from the config of the image `name`.

    Raises:
        DockerfileError: it is none, or several.
    """
    source = Source(expression.encode("utf-8", "surrogateescape"), name)
    statement = source.next_statement()
    if statement is None:
        raise DockerfileError(Position(name, 1), "an empty ONBUILD trigger")
    found = _instruction(statement)
    if found.NAME in _NO_TRIGGERS:
        raise statement.error(0, _NO_TRIGGERS[found.NAME])
    following = source.next_statement()
    if following is not None:
        raise following.error(0, "an ONBUILD trigger is one instruction")
    return found


def _start(statement: Statement) -> int:
    return len(statement.text) - len(statement.text.lstrip(SPACES))


def _instruction(statement: Statement) -> Instruction:
    call = _call(statement, stripped(Word(statement.text, 0)))
    is_trigger = call.name == "ONBUILD"
    inner = _trigger(call) if is_trigger else call
    if inner.name in _WITH_HEREDOCS and not inner.is_json:
        inner.heredocs = _heredocs(statement)
        call.statement = inner.statement = with_last_line(statement)
    instruction = READERS[inner.name](inner)
    return _onbuild(call, instruction) if is_trigger else instruction


def _call(statement: Statement, line: Word) -> Call:
    keyword, rest = split_first(line)
    name = keyword.text.upper()
    if not keyword.text:
        raise statement.error(0, "nothing but a continuation: expected an instruction")
    if name not in READERS:
        raise statement.error(
            keyword.offset,
            f"unknown instruction {quoted(keyword.text)}{did_you_mean(name, list(READERS)) or ''}",
        )
    return Call(statement, keyword, rest, statement.source.directives.escape)


def _trigger(call: Call) -> Call:
    call.require_no_flags()
    if not call.rest.text:
        raise call.error("ONBUILD lacks an instruction: ONBUILD RUN ...")
    inner = _call(call.statement, call.rest)
    if inner.name in _NO_TRIGGERS:
        raise inner.error(_NO_TRIGGERS[inner.name])
    return inner


def _heredocs(statement: Statement) -> tuple[Heredoc, ...]:
    marks = find_marks(statement.text)
    at, found = 0, []
    for mark in marks:
        at = max(statement.text.find("<<", at), 0)
        found.append(statement.source.heredoc(mark, statement, at))
        at += len("<<")
    return tuple(found)


def _onbuild(call: Call, trigger: Instruction) -> Onbuild:
    expression = _ONBUILD.sub("", call.statement.text.strip(SPACES), count=1)
    heredocs: tuple[Heredoc, ...] = getattr(trigger, "heredocs", getattr(trigger, "files", ()))
    below = "".join(f"\n{heredoc.content}{heredoc.name}" for heredoc in heredocs)
    return Onbuild(**call.common(), expression=expression + below, trigger=trigger)
