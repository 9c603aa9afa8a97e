"""The stages of a build: what each stands on, what it takes from others, and which are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from overlayfs_py.builds.state import SCRATCH
from overlayfs_py.dockerfile.errors import DockerfileError, did_you_mean
from overlayfs_py.dockerfile.expanding import expand_at
from overlayfs_py.dockerfile.instructions import Add, Copy, Run, Workdir
from overlayfs_py.errors import Failure
from overlayfs_py.image.errors import BadPlatform
from overlayfs_py.image.platform import parse_platform

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from overlayfs_py.builds.variables import Variables
    from overlayfs_py.dockerfile.errors import Position
    from overlayfs_py.dockerfile.instructions import Dockerfile, Instruction, Stage
    from overlayfs_py.image.platform import Platform


class StageOrigin(Struct, frozen=True):
    """An earlier stage of the same Dockerfile, by its place."""

    index: int


class ContextOrigin(Struct, frozen=True):
    """A `--build-context`, by its name."""

    name: str


class ImageOrigin(Struct, frozen=True):
    """An image, by a reference; `scratch` is none."""

    reference: str


Origin = StageOrigin | ContextOrigin | ImageOrigin


class StagePlan(Struct, frozen=True):
    """One stage."""

    index: int
    stage: Stage
    title: str  # as progress names it; empty where there is only one and it has no name
    base: Origin
    platform: Platform
    needs: tuple[int, ...]  # the stages that its instructions take from

    @property
    def steps(self) -> int:
        """How many of its instructions make a layer, and FROM."""
        return 1 + sum(map(makes_layer, self.stage.instructions))


class Plan(Struct, frozen=True):
    """All stages, in the order of the Dockerfile."""

    stages: tuple[StagePlan, ...]
    target: int
    contexts: frozenset[str]  # the names of `--build-context`

    def needed(self) -> tuple[int, ...]:
        """The stages that the target cannot do without, itself last."""
        found: dict[int, None] = {}
        pending = [self.target]
        while pending:
            index = pending.pop()
            if index not in found:
                found[index] = None
                pending += self._below(self.stages[index])
        return tuple(sorted(found))

    def _below(self, plan: StagePlan) -> Iterable[int]:
        base = [plan.base.index] if isinstance(plan.base, StageOrigin) else []
        return (*base, *plan.needs)

    def origin(self, text: str, before: int, position: Position) -> Origin:
        """What `--from=text` or `from=text` of the stage `before` names.

        Raises:
            DockerfileError: a stage that comes later, or is not there.
        """
        found = _find_stage([plan.stage for plan in self.stages], text)
        return _origin(text, found, before, self.contexts, position)


def make(
    dockerfile: Dockerfile,
    variables: Variables,
    platforms: tuple[Platform, Platform],
    target: str,
    contexts: Collection[str],
) -> Plan:
    """Return the stages of a Dockerfile; nothing is read or fetched for that.

    Args:
        dockerfile: what to build.
        variables: what is put into FROM.
        platforms: what is built for, and what this machine is.
        target: the stage to build, by name; empty for the last one.
        contexts: the names of `--build-context`, which go before stages and images.

    Raises:
        DockerfileError: FROM cannot be read, or takes from a stage that comes later.
        Failure: there is no such target.
    """
    names = frozenset(name.lower() for name in contexts)
    stages = dockerfile.stages
    plans = tuple(_plan(index, stages, variables, platforms, names) for index in range(len(stages)))
    return Plan(plans, _target(stages, target), names)


def makes_layer(instruction: Instruction) -> bool:
    """Whether an instruction is a step of its own, and a layer."""
    return isinstance(instruction, Run | Copy | Add | Workdir)


def origins(instruction: Instruction) -> Iterator[str]:
    """Yield what an instruction takes from besides the build context, as it is written."""
    if isinstance(instruction, Copy) and instruction.origin:
        yield instruction.origin
    if isinstance(instruction, Run):
        yield from (mount.origin for mount in instruction.mounts if mount.origin)


def _plan(
    index: int,
    stages: Sequence[Stage],
    variables: Variables,
    platforms: tuple[Platform, Platform],
    contexts: frozenset[str],
) -> StagePlan:
    stage = stages[index]
    base = expand_at(stage, stage.base, variables.globals, variables.escape).text
    if not base:
        raise DockerfileError(stage.position, f"FROM {stage.base}: no image, since it is empty")
    found = _find_stage(stages[:index], base, by_number=False)
    named = (stage.name or "").lower()
    if named in contexts:
        origin: Origin = ContextOrigin(named)
    else:
        origin = _origin(base, found, index, contexts, stage.position)
    title = stage.name or (f"stage-{index}" if len(stages) > 1 else "")
    # What is not an earlier stage is refused only where it is built.
    taken = (
        _find_stage(stages[:index], text)
        for instruction in stage.instructions
        for text in origins(instruction)
        if text.lower() not in contexts
    )
    needs = {found for found in taken if found is not None}
    platform = _platform(stage, variables, platforms[0])
    return StagePlan(index, stage, title, origin, platform, tuple(sorted(needs)))


def _origin(
    text: str, found: int | None, before: int, contexts: frozenset[str], position: Position
) -> Origin:
    if text.lower() in contexts:
        return ContextOrigin(text.lower())
    if found is None:
        if text.isdecimal():
            raise DockerfileError(position, f"there is no stage {text}")
        return ImageOrigin(text)
    if found >= before:
        raise DockerfileError(position, f"the stage {text} does not come before this one")
    return StageOrigin(found)


def _find_stage(stages: Sequence[Stage], text: str, *, by_number: bool = True) -> int | None:
    """The stage of a name, the last of several, or of a number."""
    wanted = text.lower()
    for index in reversed(range(len(stages))):
        if (stages[index].name or "").lower() == wanted:
            return index
    if by_number and wanted.isdecimal() and len(wanted) < 6 and int(wanted) < len(stages):
        return int(wanted)
    return None


def _target(stages: Sequence[Stage], text: str) -> int:
    if not text:
        return len(stages) - 1
    found = _find_stage(stages, text, by_number=False)
    if found is None and _find_stage(stages, text) is not None:
        raise Failure(f"--target {text}: a stage is meant by its name; numbers are for --from")
    if found is None:
        names = [stage.name for stage in stages if stage.name]
        raise Failure(f"--target {text}: there is no such stage{did_you_mean(text, names)}")
    return found


def _platform(stage: Stage, variables: Variables, target: Platform) -> Platform:
    text = expand_at(stage, stage.platform, variables.globals, variables.escape).text
    if not text:
        if stage.platform:
            reason = f"--platform={stage.platform}: no platform, since it is empty"
            raise DockerfileError(stage.position, reason)
        return target
    try:
        return parse_platform(text)
    except BadPlatform as error:
        raise DockerfileError(stage.position, f"--platform: {error}") from None


def is_scratch(origin: Origin) -> bool:
    """Whether it is nothing to stand on."""
    return isinstance(origin, ImageOrigin) and origin.reference == SCRATCH
