"""A Dockerfile as rules look at it: stages that end up in the image, commands, what is known."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from overlayfs_py.advice.build_facts import BuildFacts
from overlayfs_py.advice.shell_commands import ShellCommand, shell_commands
from overlayfs_py.dockerfile.errors import DockerfileError, Position
from overlayfs_py.dockerfile.expanding import expand_at, resolve_mounts
from overlayfs_py.dockerfile.instructions import (
    Arg,
    Copy,
    Env,
    Instruction,
    Onbuild,
    Run,
    Shell,
    Stage,
)
from overlayfs_py.dockerfile.mounts import CacheMount, TmpfsMount

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from overlayfs_py.advice.context_facts import ContextFacts
    from overlayfs_py.dockerfile.ignore import IgnoreRules
    from overlayfs_py.dockerfile.instructions import Dockerfile

_Any = TypeVar("_Any", bound=Instruction)
_SHELLS = ("sh", "bash", "ash", "dash", "zsh", "ksh")
_OFF = ("", "0", "off", "no", "false")
SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Placed:
    """A command of a RUN, and where it stands in the file."""

    run: Run
    command: ShellCommand
    position: Position


@dataclass(eq=False)
class RunView:
    """A RUN, and the commands in it."""

    run: Run
    stage: StageView
    values: Mapping[str, str]  # what ENV and the defaults of ARG say before it

    @cached_property
    def commands(self) -> list[Placed]:
        """Its commands, those of heredocs and substitutions among them."""
        run = self.run
        if not run.command.shell:
            return self._exec_form()
        found = [
            Placed(run, command, run.position_at(self._line_offset + command.offset))
            for command in shell_commands(run.command.text)
        ]
        for heredoc in run.heredocs if self._heredocs_are_scripts else ():
            for command in shell_commands(heredoc.body):
                line = heredoc.first_line + heredoc.body.count("\n", 0, command.offset)
                found.append(Placed(run, command, Position(run.position.file, line, 1)))
        return found

    @property
    def text(self) -> str:
        """All that it runs, as text."""
        return self.run.script.text if self.run.command.shell else self.run.command.text

    def of(self, *programs: str) -> list[Placed]:
        """Its commands of these programs."""
        return [placed for placed in self.commands if placed.command.program in programs]

    def does(self, program: str, *actions: str) -> bool:
        """Whether one of its commands is `program action`."""
        return any(placed.command.action in actions for placed in self.of(program))

    def removes(self, *paths: str) -> bool:
        """Whether one of its commands removes something below one of the paths."""
        return any(
            word.startswith(path)
            for placed in self.of("rm", "find")
            for word in placed.command.arguments
            for path in paths
        )

    def is_set(self, name: str, command: ShellCommand) -> bool:
        """Whether a variable that switches something on does so for a command."""
        value = self.values.get(name, "")
        for placed in self.of("export"):
            words = (word.partition("=") for word in placed.command.words[1:])
            value = next((text for exported, _, text in words if exported == name), value)
        value = command.assignments.get(name, value)
        return value.lower() not in _OFF

    def keeps_out(self, *paths: str) -> bool:
        """Whether a cache or tmpfs is mounted so that what is below a path stays out of it."""
        targets = [mount.target.rstrip("/") for mount in self._outside]
        return any(
            path == target or path.startswith(f"{target}/") for target in targets for path in paths
        )

    @cached_property
    def _outside(self) -> list[CacheMount | TmpfsMount]:
        try:
            mounts, _ = resolve_mounts(self.run, self.values, self.stage.view.escape)
        except DockerfileError:
            return []
        return [mount for mount in mounts if isinstance(mount, CacheMount | TmpfsMount)]

    @cached_property
    def _line_offset(self) -> int:
        return max(self.run.source.rfind(self.run.command.text), 0)

    @property
    def _heredocs_are_scripts(self) -> bool:
        script = self.run.script
        if script.file is not None:
            first = script.file.body.split("\n", 1)[0]
            return first.rpartition("/")[2].strip() in _SHELLS
        return bool(self.run.heredocs) and script.text == self.run.heredocs[0].body

    def _exec_form(self) -> list[Placed]:
        words = list(self.run.command.words)
        if len(words) > 2 and words[0].rpartition("/")[2] in _SHELLS and "-c" in words[1]:
            return [Placed(self.run, each, self.run.position) for each in shell_commands(words[2])]
        return [Placed(self.run, ShellCommand(words=words), self.run.position)]


@dataclass(eq=False)
class StageView:
    """A stage, and what is known of it."""

    view: View
    stage: Stage
    index: int
    parent: StageView | None = None  # the stage that it is built on
    kept: bool = False  # its layers are layers of the image
    used: bool = False  # something of it is, or it is built on

    @cached_property
    def base(self) -> str:
        """What it is built on, with the defaults of arguments; empty if that is not known."""
        try:
            found = expand_at(self.stage, self.stage.base, self.view.arguments, self.view.escape)
        except DockerfileError:
            return ""
        return "" if found.missing else found.text

    def all(self, kind: type[_Any]) -> list[_Any]:
        """Its instructions of a kind."""
        return [each for each in self.stage.instructions if isinstance(each, kind)]

    @cached_property
    def runs(self) -> list[RunView]:
        """Its RUNs, ONBUILD ones among them."""
        found = []
        for each, values in self._with_values():
            run = each.trigger if isinstance(each, Onbuild) else each
            if isinstance(run, Run):
                found.append(RunView(run, self, values))
        return found

    @cached_property
    def values(self) -> dict[str, str]:
        """What ENV and the defaults of ARG say at its end."""
        return list(self._with_values())[-1][1]

    @property
    def name(self) -> str:
        """How messages call it."""
        return self.stage.name or f"stage {self.index}"

    def pipes_fail(self, run: Run) -> bool:
        """Whether SHELL has set that a pipe fails with any of its commands."""
        words: tuple[str, ...] = ()
        for each in self.stage.instructions:
            if each is run:
                break
            if isinstance(each, Shell):
                words = each.words
        if not words and self.parent is not None:
            shells = self.parent.all(Shell)
            words = shells[-1].words if shells else ()
        return "pipefail" in words

    def _with_values(self) -> Iterator[tuple[Instruction | None, dict[str, str]]]:
        values = dict(self.parent.values) if self.parent is not None else {}
        yield None, values
        for each in self.stage.instructions:
            yield each, values
            values = values | _set(each, values, self.view)
        yield None, values


@dataclass(eq=False)
class View:
    """A Dockerfile, and what else is known: its context and what is ignored there."""

    dockerfile: Dockerfile
    context: ContextFacts | None = None
    ignore: IgnoreRules | None = None
    builds: BuildFacts = field(default_factory=BuildFacts)
    stages: list[StageView] = field(default_factory=list)

    def __post_init__(self) -> None:
        by_name: dict[str, StageView] = {}
        for index, stage in enumerate(self.dockerfile.stages):
            seen = StageView(self, stage, index)
            seen.parent = by_name.get(seen.base.lower())
            self.stages.append(seen)
            if stage.name:
                by_name[stage.name] = seen
        _mark_used(self.stages)

    @property
    def escape(self) -> str:
        """The escape character."""
        return self.dockerfile.directives.escape

    @cached_property
    def arguments(self) -> dict[str, str]:
        """The defaults of the arguments before the first FROM."""
        values: dict[str, str] = {}
        for arg in self.dockerfile.arguments:
            values |= _set(arg, values, self)
        return values

    @property
    def kept(self) -> list[StageView]:
        """The stages whose layers are the image's."""
        return [stage for stage in self.stages if stage.kept]

    def named(self, name: str, before: int) -> StageView | None:
        """The stage that `--from` or `from=` means in the stage of a number."""
        earlier = self.stages[:before]
        if name.isdecimal() and len(name) < len("100000"):
            return earlier[int(name)] if int(name) < len(earlier) else None
        return next((each for each in reversed(earlier) if each.stage.name == name.lower()), None)


def takes_everything(copy: Copy) -> bool:
    """Whether a COPY takes the whole context, or all of a stage."""
    return any(source.strip("/") in ("", ".", "*", "./*") for source in copy.sources)


def _mark_used(stages: list[StageView]) -> None:
    kept: StageView | None = stages[-1]
    while kept is not None:
        kept.kept = True
        kept = kept.parent
    waiting = [stages[-1]]
    while waiting:
        stage = waiting.pop()
        if stage.used:
            continue
        stage.used = True
        waiting += [stage.parent] if stage.parent is not None else []
        for each in stage.stage.instructions:
            for name in _origins(each):
                found = stage.view.named(name, stage.index)
                waiting += [found] if found is not None else []


def _origins(instruction: Instruction) -> list[str]:
    if isinstance(instruction, Copy):
        return [instruction.origin] if instruction.origin else []
    if isinstance(instruction, Run):
        return [mount.origin for mount in instruction.mounts if mount.origin]
    return []


def _set(instruction: Instruction, values: Mapping[str, str], view: View) -> dict[str, str]:
    """What an instruction adds to the values; what cannot be told it leaves out."""
    try:
        if isinstance(instruction, Env):
            return {
                pair.name: expand_at(instruction, pair.value, values, view.escape).text
                for pair in instruction.pairs
            }
        if isinstance(instruction, Arg):
            return {
                argument.name: expand_at(instruction, argument.default, values, view.escape).text
                for argument in instruction.arguments
                if argument.default is not None
            }
    except DockerfileError:
        return {}
    return {}
