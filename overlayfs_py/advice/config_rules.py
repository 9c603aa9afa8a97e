"""Instructions for the config of the image, and for the build's variables."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from overlayfs_py.advice.findings import Found, Rule, Severity
from overlayfs_py.dockerfile.automatic import (
    PLATFORM_ARGUMENTS,
    PROXY_ARGUMENTS,
    SOURCE_DATE_EPOCH,
)
from overlayfs_py.dockerfile.errors import DockerfileError, did_you_mean
from overlayfs_py.dockerfile.expanding import expanded
from overlayfs_py.dockerfile.expansion import Variable, template
from overlayfs_py.dockerfile.instructions import (
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Run,
    Shell,
    User,
    Workdir,
)
from overlayfs_py.dockerfile.ports import is_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import StageView, View

# What is in the environment of every container.
_PRESENT = {"PATH", "HOME", "HOSTNAME", "TERM", *PROXY_ARGUMENTS, SOURCE_DATE_EPOCH}


def _shell_form(view: View) -> Iterator[Found]:
    for stage in view.kept:
        shell = bool(stage.all(Shell))
        commands: list[Cmd | Entrypoint] = [*stage.all(Cmd), *stage.all(Entrypoint)]
        for each in commands:
            command = each.command
            if not command.shell or shell or command.text.startswith("exec "):
                continue
            looks_like_json = command.text.startswith("[")
            yield Found(
                each.position,
                f"{each.NAME} {command.text[:60]} is no JSON, and goes to a shell"
                if looks_like_json
                else f"{each.NAME} runs below a shell, which may keep signals to itself",
                cost="the command does not exist"
                if looks_like_json
                else "`stop` waits ten seconds, and kills",
                rewrite=f"{each.NAME} {_as_json(command.text)}",
                last_line=each.last_line,
            )


def _as_json(text: str) -> str:
    words = re.sub(r"[\[\],'\"]", " ", text).split() if text.startswith("[") else text.split()
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _several(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for kind in (Cmd, Entrypoint, Healthcheck):
            of_kind: list[Instruction] = list(stage.all(kind))
            for each in of_kind[:-1]:
                line = of_kind[-1].position.line
                yield Found(
                    each.position,
                    f"the {each.NAME} of line {line} takes the place of this one",
                    rewrite="without this line",
                    last_line=each.last_line,
                )


def _root(view: View) -> Iterator[Found]:
    stage = view.stages[-1]
    users = stage.all(User)
    if users and users[-1].user.split(":")[0] in ("root", "0"):
        yield Found(
            users[-1].position,
            "containers of the image run as root",
            cost="what breaks out of the program has all rights in the container",
            rewrite="USER of a user of its own, after the last RUN that needs root",
        )


def _maintainer(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for each in stage.all(Maintainer):
            yield Found(
                each.position,
                "MAINTAINER is deprecated",
                rewrite=f'LABEL org.opencontainers.image.authors="{each.author}"',
            )


def _relative_workdir(view: View) -> Iterator[Found]:
    for stage in view.stages:
        absolute = stage.parent is not None and bool(stage.parent.all(Workdir))
        for each in stage.all(Workdir):
            if re.match(r"[/$\"']|[A-Za-z]:", each.path):
                absolute = True
            elif not absolute:
                yield Found(
                    each.position,
                    f"{each.path} is relative to a directory that the base image chooses",
                    rewrite=f"WORKDIR /{each.path}",
                )


def _old_pairs(view: View) -> Iterator[Found]:
    for stage in view.stages:
        with_pairs: list[Env | Label] = [*stage.all(Env), *stage.all(Label)]
        for each in with_pairs:
            if each.pairs[0].old_form:
                pair = each.pairs[0]
                value = pair.value if re.fullmatch(r"\S*", pair.value) else f'"{pair.value}"'
                yield Found(
                    each.position,
                    f"{each.NAME} NAME VALUE is the old form",
                    rewrite=f"{each.NAME} {pair.name}={value}",
                    last_line=each.last_line,
                )


def _own_pair(view: View) -> Iterator[Found]:
    for stage in view.stages:
        known: set[str] = set(stage.parent.values) if stage.parent is not None else set()
        for each in stage.stage.instructions:
            if isinstance(each, Env):
                before: set[str] = set()
                for pair in each.pairs:
                    for name in sorted(_variables(pair.value, view) & before - known):
                        yield Found(
                            each.position,
                            f"${name} is not what this ENV sets: values are those of before it",
                            cost="it is empty",
                            rewrite=f"ENV {name}=...\nENV {pair.name}={pair.value}",
                            last_line=each.last_line,
                        )
                    before.add(pair.name)
                known |= before
            elif isinstance(each, Arg):
                known |= {argument.name for argument in each.arguments}


def _variables(word: str, view: View) -> set[str]:
    return {part.name for part in template(word, view.escape).parts if isinstance(part, Variable)}


def _undefined(view: View) -> Iterator[Found]:
    for stage in view.stages:
        declared = _inherited(stage)
        for each in stage.stage.instructions:
            for name in sorted(_missing(each, view) - declared - _PRESENT):
                # The base's own environment is not known; what is near a known name is an error.
                near = did_you_mean(name, sorted(declared))
                if near or stage.base == "scratch":
                    yield Found(
                        each.position,
                        f"no ARG or ENV declares ${name}{near}",
                        cost="it is empty, unless the base image has it",
                        rewrite=f"ARG {name} in this stage",
                        last_line=each.last_line,
                    )
            declared |= _declared(each)


def _missing(instruction: Instruction, view: View) -> set[str]:
    try:
        if isinstance(instruction, Arg):
            return {
                name
                for argument in instruction.arguments
                for name in _variables(argument.default or "", view)
            }
        return set(expanded(instruction, {}, view.escape).missing)
    except DockerfileError:
        return set()


def _inherited(stage: StageView) -> set[str]:
    found: set[str] = set()
    above = stage.parent
    while above is not None:
        for each in above.stage.instructions:
            found |= _declared(each)
        above = above.parent
    return found


def _declared(instruction: Instruction) -> set[str]:
    if isinstance(instruction, Arg):
        return {argument.name for argument in instruction.arguments}
    if isinstance(instruction, Env):
        return {pair.name for pair in instruction.pairs}
    return set()


def _undeclared_global(view: View) -> Iterator[Found]:
    """Arguments from before the first FROM that a stage uses without ARG of its own."""
    names = {argument.name for arg in view.dockerfile.arguments for argument in arg.arguments}
    names |= set(PLATFORM_ARGUMENTS)
    for stage in view.stages:
        declared = _inherited(stage)
        for each in stage.stage.instructions:
            used = _missing(each, view)
            if isinstance(each, Run) and each.command.shell:
                used |= set(re.findall(r"\$\{?([A-Z_][A-Z0-9_]*)", each.command.text))
                used -= set(re.findall(r"\b([A-Z_][A-Z0-9_]*)=", each.command.text))
            for name in sorted(used & names - declared):
                yield Found(
                    each.position,
                    f"{name} is not known here: an ARG before FROM is for FROM alone",
                    cost="it is empty",
                    rewrite=f"ARG {name}\n{each.source}"[:300],
                    last_line=each.last_line,
                )
            declared |= _declared(each)


def _empty_lines(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for each in stage.stage.instructions:
            if each.empty_lines:
                yield Found(
                    each.position_at(0),
                    f"line {each.empty_lines[0]} is empty in the middle of an instruction",
                    rewrite="no empty line, or one with #",
                    last_line=each.last_line,
                )


def _port_mapping(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for each in stage.all(Expose):
            for word in each.ports:
                if "$" not in word and is_mapping(word):
                    yield Found(
                        each.position,
                        f"EXPOSE {word} names a port or address of the host, which has no effect",
                        rewrite=f"EXPOSE {word.rpartition(':')[2]}, and -p {word} for `run`",
                    )


def _protocol_case(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for each in stage.all(Expose):
            for word in each.ports:
                protocol = word.partition("/")[2]
                if protocol != protocol.lower() and "$" not in protocol:
                    yield Found(
                        each.position,
                        f"{word} with capitals",
                        rewrite=f"EXPOSE {word.lower()}",
                    )


def _own_stage(view: View) -> Iterator[Found]:
    for stage in view.stages:
        for copy in stage.all(Copy):
            itself = copy.origin != "" and copy.origin.lower() == stage.stage.name
            if itself and view.named(copy.origin, stage.index) is None:
                yield Found(
                    copy.position,
                    f"COPY --from={copy.origin} in the stage {copy.origin} itself",
                    cost="the build fails",
                    rewrite="--from of an earlier stage",
                    last_line=copy.last_line,
                )


RULES = (
    Rule(
        "JSONArgsRecommended",
        Severity.WARNING,
        "CMD or ENTRYPOINT in shell form",
        _shell_form,
        ("DL3025",),
    ),
    Rule(
        "MultipleInstructionsDisallowed",
        Severity.WARNING,
        "CMD, ENTRYPOINT or HEALTHCHECK several times in a stage",
        _several,
        ("DL4003", "DL4004", "DL3012"),
    ),
    Rule("RootUser", Severity.WARNING, "USER root at the end", _root, ("DL3002",)),
    Rule("MaintainerDeprecated", Severity.STYLE, "MAINTAINER", _maintainer, ("DL4000",)),
    Rule(
        "WorkdirRelativePath",
        Severity.WARNING,
        "a relative WORKDIR",
        _relative_workdir,
        ("DL3000",),
    ),
    Rule("LegacyKeyValueFormat", Severity.STYLE, "ENV or LABEL in the old form", _old_pairs),
    Rule(
        "OwnVariable",
        Severity.ERROR,
        "ENV with a variable that the same ENV sets",
        _own_pair,
        ("DL3044",),
    ),
    Rule("UndefinedVar", Severity.WARNING, "a variable that nothing declares", _undefined),
    Rule(
        "ArgumentOfFrom",
        Severity.WARNING,
        "an argument from before FROM that the stage does not declare",
        _undeclared_global,
    ),
    Rule("NoEmptyContinuation", Severity.STYLE, "an empty line in an instruction", _empty_lines),
    Rule("ExposeInvalidFormat", Severity.WARNING, "EXPOSE of a port mapping", _port_mapping),
    Rule("ExposeProtoCasing", Severity.STYLE, "EXPOSE of a protocol with capitals", _protocol_case),
    Rule("CopyFromItself", Severity.ERROR, "COPY --from of its own stage", _own_stage, ("DL3023",)),
)
