"""One stage, step by step: from its base to what it has become."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.builds import chosen, config_steps
from overlayfs_py.builds.cache import Found, NotFound, Step, StepCache, now_ns
from overlayfs_py.builds.copy_step import copy_step, joined, needs_context, workdir_step
from overlayfs_py.builds.events import StepBegun, StepCached, StepDone, StepName
from overlayfs_py.builds.failures import BuildFailure
from overlayfs_py.builds.fingerprint import difference
from overlayfs_py.builds.misses import Miss
from overlayfs_py.builds.plan import ContextOrigin, ImageOrigin, StageOrigin, makes_layer
from overlayfs_py.builds.run_step import RunStep, RunTools
from overlayfs_py.builds.state import SCRATCH, StageState, pairs_of
from overlayfs_py.builds.variables import DEFAULT_PATH
from overlayfs_py.dockerfile.errors import DockerfileError
from overlayfs_py.dockerfile.expanding import expanded, resolve_mounts
from overlayfs_py.dockerfile.instructions import Add, Arg, Cmd, Copy, Instruction, Run, Workdir
from overlayfs_py.dockerfile.parsing import parse_trigger
from overlayfs_py.errors import Failure, describe, exit_code_of
from overlayfs_py.image.config import RunConfig
from overlayfs_py.image.media_types import kind_of
from overlayfs_py.image.times import rfc3339
from overlayfs_py.terminal_text import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.builds.copy_step import LayerStep
    from overlayfs_py.builds.plan import Origin, StagePlan
    from overlayfs_py.builds.request import Request
    from overlayfs_py.builds.sources import Sources
    from overlayfs_py.builds.workers import Link
    from overlayfs_py.dockerfile.errors import Position
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.store import Store


_WIDEST = 160


class NotBuilt(BuildFailure):
    """A dry run has come to a step of which nobody can tell what it would make."""

    is_dry = True

    def __init__(self) -> None:
        super().__init__("dry run", "the rest depends on what this step makes")


class StepFailed(Failure):
    """A step that cannot be done, and where it stands in the Dockerfile."""

    def __init__(self, error: OSError, instruction: Instruction) -> None:
        super().__init__(f"{instruction.position}: {describe(error)}", exit_code_of(error))
        self.details = (f"  {shortened(instruction.source, _WIDEST)}",)
        self.error = error


@contextmanager
def _at(instruction: Instruction) -> Iterator[None]:
    """Let an error say which instruction it is of."""
    try:
        yield
    except (DockerfileError, NotBuilt):
        raise
    except OSError as error:
        raise StepFailed(error, instruction) from error


class StageBuild:
    """The building of one stage."""

    def __init__(
        self,
        plan: StagePlan,
        request: Request,
        store: Store,
        addition: Addition,
        sources: Sources,
        link: Link,
    ) -> None:
        self._plan = plan
        self._request = request
        self._addition = addition
        self._sources = sources
        self._link = link
        self._tell = link.tell
        self._store = store
        is_off = request.no_cache.covers(plan.index, plan.stage.name)
        imported = request.imported
        self._cache = StepCache(store.builds, addition, difference, imported, is_off=is_off)
        self._number = 1
        self._total = plan.steps
        self._has_cmd = False

    def run(self) -> StageState:
        """Build it; returns what it has become.

        Raises:
            DockerfileError: an instruction makes no sense.
            StepFailed: a step cannot be done; what was made before it is in the cache.
        """
        with _at(self._plan.stage):
            state, triggers = self._base()
        instructions: Sequence[Instruction] = (*triggers, *self._plan.stage.instructions)
        self._total = 1 + sum(map(makes_layer, instructions))
        self._tell(StepCached(self._name(f"FROM {self._base_name()}")))
        for at, instruction in enumerate(instructions):
            try:
                with _at(instruction):
                    state = self._step(instruction, state)
            except NotBuilt:
                self._tell_rest(instructions[at + 1 :])
                raise
        return state

    def _tell_rest(self, instructions: Sequence[Instruction]) -> None:
        """Say of what follows a step that is not made that it would be made, too."""
        followed = _short(self._name(""))
        for instruction in filter(makes_layer, instructions):
            self._number += 1
            name = self._name(_one_line(instruction))
            self._tell(StepBegun(name, f"it follows {followed}", Miss(), ()))

    def _base(self) -> tuple[StageState, list[Instruction]]:
        """What the stage stands on, and the ONBUILD instructions of an image."""
        base = self._plan.base
        if isinstance(base, StageOrigin):
            return self._taken_up(self._sources.state(base.index), self._base_name())
        if isinstance(base, ContextOrigin):
            reference = self._sources.named_image(base.name)
            if reference is None:
                return self._of_files(base), []
            base = ImageOrigin(reference)
        if base.reference == SCRATCH:
            return self._scratch(), []
        image = self._sources.image(base.reference, self._plan.platform)
        config = image.config
        state = StageState(
            config.platform,
            kind_of(image.manifest.media_type),
            config.diff_ids,
            image.manifest.layers,
            config.run,
            config.history,
            config.author,
            pairs_of(config.run.env),
        )
        return self._taken_up(state, base.reference)

    def _taken_up(self, state: StageState, name: str) -> tuple[StageState, list[Instruction]]:
        """A state to build on, and the instructions that it has for that."""
        triggers = state.run.on_build or ()
        found = [parse_trigger(text, f"ONBUILD of {name}") for text in triggers]
        return structs.replace(state, run=structs.replace(state.run, on_build=None)), found

    def _scratch(self) -> StageState:
        run = RunConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/")
        return StageState(self._plan.platform, run=run, variables=pairs_of(run.env))

    def _of_files(self, base: ContextOrigin) -> StageState:
        from overlayfs_py.builds.copying import CopyOptions, write_copy
        from overlayfs_py.builds.selection import select

        context = self._sources.open(base, self._plan.platform)
        selected = select(context.tree, ["/"], ignore=context.ignore)
        options = CopyOptions(latest_ns=self._request.latest_ns)
        layer = write_copy(self._addition, selected, (), "/", options)
        created = rfc3339(now_ns(self._request.latest_ns))
        size = layer.record.tar_size
        return self._scratch().with_layer(layer.diff_id, size, f"FROM {base.name}", created)

    def _base_name(self) -> str:
        base = self._plan.base
        match base:
            case StageOrigin(index):
                return self._request.plan.stages[index].title
            case ContextOrigin(name):
                return name
            case ImageOrigin(reference):
                return reference

    def _step(self, instruction: Instruction, state: StageState) -> StageState:
        variables = self._request.variables
        if isinstance(instruction, Arg):
            return variables.declare(instruction, state)
        values = state.variables
        resolved = expanded(instruction, values, variables.escape).instruction
        if isinstance(instruction, Cmd):
            self._has_cmd = True
        changed = config_steps.apply(resolved, state, has_cmd=self._has_cmd)
        if changed is not None:
            return changed
        self._number += 1
        name = self._name(_one_line(instruction))
        if isinstance(resolved, Workdir):
            # As it is written, if it is absolute: BuildKit has it so.
            path = resolved.path
            if not path.startswith("/"):
                path = joined(state, path)
            state = structs.replace(state, run=structs.replace(state.run, working_dir=path))
            if path == "/":  # which is always there
                self._tell(StepCached(name))
                return state.with_config(state.run, f"WORKDIR {path}")
        return self._layer(name, instruction, self._layer_step(resolved, state), state)

    def _layer_step(self, instruction: Instruction, state: StageState) -> LayerStep:
        latest_ns = self._request.latest_ns
        match instruction:
            case Copy() | Add():
                origin = instruction.origin if isinstance(instruction, Copy) else ""
                source = None
                if needs_context(instruction):
                    source = self._origin(origin, instruction.position)
                return copy_step(instruction, state, source, self._sources, latest_ns)
            case Workdir():
                return workdir_step(instruction, state, self._sources, latest_ns)
            case Run():
                return self._run_step(instruction, state)
            case _:
                raise DockerfileError(
                    instruction.position, f"{instruction.NAME} cannot be built", instruction.source
                )

    def _run_step(self, instruction: Run, state: StageState) -> LayerStep:
        variables = self._request.variables
        mounts, _ = resolve_mounts(instruction, state.variables, variables.escape)
        tools = RunTools(
            self._request,
            self._store,
            self._sources,
            self._link.become_root,
            lambda origin: self._origin(origin, instruction.position),
            self._tell,
        )
        return RunStep(instruction, state, mounts, tools).layer_step()

    def _origin(self, text: str, position: Position) -> chosen.Origin:
        """Where files are taken from: what `--from` names, or the build context."""
        sources, platform = self._sources, self._plan.platform
        if not text:
            return chosen.Origin(sources.main)
        origin: Origin = self._request.plan.origin(text, self._plan.index, position)
        stack = sources.stack_of(origin, platform)
        return chosen.Origin(lambda: sources.open(origin, platform), stack)

    def _layer(
        self, name: StepName, instruction: Instruction, made: LayerStep, state: StageState
    ) -> StageState:
        place = f"{self._request.identity} {self._plan.title} {self._number}"
        step = Step(instruction.source, place, made.key, made.table, made.table_digest)
        found = self._cache.look(step, _short(name))
        if isinstance(found, NotFound):
            found = self._made(name, step, made, found)
        else:
            self._tell(StepCached(name, made.key.parts, found.source))
        created = self._created(found.created_ns)
        state = state.with_layer(found.diff_id, found.tar_size, made.created_by, created)
        return state.after(step.key.digest, made.selections, made.cache_mounts)

    def _made(self, name: StepName, step: Step, made: LayerStep, missed: NotFound) -> Found:
        """Make a step, unless another stage is just doing so."""
        begun = StepBegun(name, missed.why, missed.miss, made.key.parts)
        if self._request.dry_run:
            self._tell(begun)
            raise NotBuilt
        with self._cache.making(step) as found:
            if found is not None:
                self._tell(StepCached(name, made.key.parts, found.source))
                return found
            self._tell(begun)
            return self._make(name, step, made)

    def _make(self, name: StepName, step: Step, made: LayerStep) -> Found:
        started = time.monotonic()
        layer = made.make(self._addition)
        seconds = time.monotonic() - started
        created_ns = now_ns(self._request.latest_ns)
        self._cache.put(step, layer, created_ns, seconds)
        self._tell(StepDone(name, seconds, layer.diff_id))
        return Found(layer.diff_id, layer.record.tar_size, created_ns)

    def _created(self, time_ns: int) -> str:
        latest_ns = self._request.latest_ns
        return rfc3339(time_ns if latest_ns is None else latest_ns)

    def _name(self, text: str) -> StepName:
        plan = self._plan
        return StepName(plan.index, plan.title, self._number, self._total, text)


def _one_line(instruction: Instruction) -> str:
    return " ".join(instruction.source.split())


def _short(name: StepName) -> str:
    """What a later step calls it that follows it."""
    return str(name).partition("]")[0] + "]"
