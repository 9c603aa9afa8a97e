"""Instructions that change an image's config alone, and what its history says of them.

The texts are BuildKit's (frontend/dockerfile/dockerfile2llb/convert.go), so that the history reads
the same for images of both builders.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.builds.go_text import duration, plain_list, quoted_list
from overlayfs_py.builds.state import pairs_of
from overlayfs_py.dockerfile.instructions import (
    Cmd,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Shell,
    StopSignal,
    User,
    Volume,
)
from overlayfs_py.image.config import Healthcheck as HealthcheckConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.builds.state import StageState
    from overlayfs_py.dockerfile.instructions import CommandLine, Instruction
    from overlayfs_py.image.config import RunConfig

_SHELL = ("/bin/sh", "-c")


def apply(instruction: Instruction, state: StageState, *, has_cmd: bool) -> StageState | None:
    """Return the state after an instruction whose words are expanded; None if it makes a layer.

    `has_cmd` says whether the stage itself has had a CMD: an ENTRYPOINT takes away another's.
    """
    run = state.run
    match instruction:
        case Env():
            changed = state.with_config(_with_env(run, instruction), _pairs_text(instruction))
            return changed.with_variables({pair.name: pair.value for pair in instruction.pairs})
        case Label():
            labels = {**(run.labels or {}), **{p.name: p.value for p in instruction.pairs}}
            return state.with_config(structs.replace(run, labels=labels), _pairs_text(instruction))
        case User():
            return state.with_config(
                structs.replace(run, user=instruction.user), f"USER {instruction.user}"
            )
        case Expose():
            return _expose(instruction, state)
        case Volume():
            volumes = _united(run.volumes, instruction.paths)
            text = f"VOLUME {plain_list(instruction.paths)}"
            return state.with_config(structs.replace(run, volumes=volumes), text)
        case Shell():
            text = f"SHELL {plain_list(instruction.words)}"
            return state.with_config(structs.replace(run, shell=instruction.words), text)
        case StopSignal():
            text = f"STOPSIGNAL {instruction.signal}"
            return state.with_config(structs.replace(run, stop_signal=instruction.signal), text)
        case Maintainer():
            changed = state.with_config(run, f"MAINTAINER {instruction.author}")
            return structs.replace(changed, author=instruction.author)
        case Onbuild():
            triggers = (*(run.on_build or ()), instruction.expression)
            return structs.replace(
                state, run=structs.replace(run, on_build=triggers)
            )  # no history, as BuildKit
        case _:
            return _command(instruction, state, has_cmd=has_cmd)


def _command(instruction: Instruction, state: StageState, *, has_cmd: bool) -> StageState | None:
    run = state.run
    match instruction:
        case Cmd():
            words = command_words(instruction.command, run)
            # What BuildKit says of every CMD, for the sake of Windows.
            changed = structs.replace(run, cmd=words, args_escaped=True)
            return state.with_config(changed, f"CMD {quoted_list(words)}")
        case Entrypoint():
            words = command_words(instruction.command, run)
            changed = structs.replace(run, entrypoint=words, cmd=run.cmd if has_cmd else None)
            return state.with_config(changed, f"ENTRYPOINT {quoted_list(words)}")
        case Healthcheck():
            check = HealthcheckConfig(
                instruction.test,
                instruction.interval_ns,
                instruction.timeout_ns,
                instruction.start_period_ns,
                instruction.start_interval_ns,
                instruction.retries,
            )
            text = f"HEALTHCHECK {_health_text(instruction)}"
            return state.with_config(structs.replace(run, healthcheck=check), text)
        case _:
            return None


def command_words(command: CommandLine, run: RunConfig) -> tuple[str, ...]:
    """The words of a command; those of the shell before a text for it."""
    return (*(run.shell or _SHELL), command.text) if command.shell else command.words


def shell_of(run: RunConfig) -> tuple[str, ...]:
    """What runs a text."""
    return run.shell or _SHELL


def _with_env(run: RunConfig, instruction: Env) -> RunConfig:
    entries = pairs_of(run.env)
    entries |= {pair.name: pair.value for pair in instruction.pairs}
    return structs.replace(run, env=tuple(f"{name}={value}" for name, value in entries.items()))


def _pairs_text(instruction: Env | Label) -> str:
    pairs = " ".join(f"{pair.name}={pair.value}" for pair in instruction.pairs)
    return f"{instruction.NAME} {pairs}"


def _expose(instruction: Expose, state: StageState) -> StageState:
    run = structs.replace(
        state.run, exposed_ports=_united(state.run.exposed_ports, instruction.ports)
    )
    return state.with_config(run, f"EXPOSE {plain_list(instruction.ports)}")


def _united(known: Iterable[str] | None, more: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({*(known or ()), *more}))


def _health_text(check: Healthcheck) -> str:
    times = {
        "Interval": check.interval_ns,
        "Timeout": check.timeout_ns,
        "StartPeriod": check.start_period_ns,
        "StartInterval": check.start_interval_ns,
    }
    told = " ".join(f"{name}:{duration(time_ns)}" for name, time_ns in times.items())
    return f"{{Test:{plain_list(check.test)} {told} Retries:{check.retries}}}"
