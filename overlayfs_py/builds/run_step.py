"""RUN: its key, what it finds mounted, and the layer of what it has changed."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from overlayfs_py.builds.chosen import Chosen
from overlayfs_py.builds.config_steps import command_words, shell_of
from overlayfs_py.builds.copy_step import LayerStep
from overlayfs_py.builds.keys import PARENT, key_of
from overlayfs_py.builds.misses import pairs_part
from overlayfs_py.builds.request import Isolation
from overlayfs_py.builds.selection import select
from overlayfs_py.builds.variables import DEFAULT_PATH, PROXIES
from overlayfs_py.dockerfile.mounts import BindMount, CacheMount, SecretMount, TmpfsMount
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from overlayfs_py.builds.chosen import Origin
    from overlayfs_py.builds.events import Event
    from overlayfs_py.builds.keys import CacheKey
    from overlayfs_py.builds.request import Request
    from overlayfs_py.builds.run_mounts import RunMount
    from overlayfs_py.builds.run_process import RunSpec
    from overlayfs_py.builds.selection import Selected
    from overlayfs_py.builds.sources import Sources
    from overlayfs_py.builds.state import StageState
    from overlayfs_py.dockerfile.instructions import Run
    from overlayfs_py.dockerfile.mounts import Mount
    from overlayfs_py.store.additions import Addition
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer

_HEREDOCS = "/dev/pipes"  # where BuildKit shows a heredoc that is a program


class CommandFailed(Failure):
    """A command that did not end with 0; docker's builder ends with 1."""

    def __init__(self, words: str, status: int, kept: str, layers: tuple[bytes, ...]) -> None:
        super().__init__(f'process "{words}" did not complete successfully: exit code: {status}')
        self.kept = kept  # the directory with its upper; empty if that has gone
        self.layers = layers  # what it ran on, topmost first


class RunTools(Struct, frozen=True):
    """What a stage lends to a RUN."""

    request: Request
    store: Store
    sources: Sources
    become_root: Callable[[], None]
    origin: Callable[[str], Origin]  # what `from=` names; empty for the build context
    tell: Callable[[Event], None]


class RunStep:
    """One RUN of a stage, with its mounts."""

    def __init__(
        self, instruction: Run, state: StageState, mounts: Sequence[Mount], tools: RunTools
    ) -> None:
        self._instruction = instruction
        self._state = state
        self._mounts = mounts
        self._tools = tools
        self._file = instruction.script.file if instruction.command.shell else None
        self._words = self._command_words()
        self._chosen = {
            mount: _choose(mount, tools) for mount in mounts if isinstance(mount, BindMount)
        }

    def layer_step(self) -> LayerStep:
        """The step as the cache and the history see it."""
        arguments = [f"{name}={value}" for name, value in self._declared().items()]
        counted = [f"|{len(arguments)}", *arguments] if arguments else []
        created_by = " ".join(["RUN", *counted, *self._words, "# buildkit"])
        known = tuple(each for chosen in self._chosen.values() for each in chosen.known)
        caches = tuple(mount.id for mount in self._mounts if isinstance(mount, CacheMount))
        return LayerStep(self._key(), created_by, self._make, selections=known, cache_mounts=caches)

    def _command_words(self) -> tuple[str, ...]:
        command, run = self._instruction.command, self._state.run
        if not command.shell:
            return command_words(command, run)
        if self._file is not None:
            return (*shell_of(run), f"{_HEREDOCS}/{self._file.name}")
        return (*shell_of(run), self._instruction.script.text)

    def _declared(self) -> dict[str, str]:
        """The ARGs so far, but for those that say where a build runs."""
        state = self._state
        names = (name for name in state.arguments if name not in PROXIES)
        return {name: state.variables.get(name, "") for name in names}

    def _key(self) -> CacheKey:
        instruction, run = self._instruction, self._state.run
        arguments = self._declared()
        others = {
            name: value
            for name, value in self._state.variables.items()
            if name not in {*arguments, *PROXIES}
        }
        latest_ns = self._tools.request.latest_ns
        return key_of(
            {
                "kind": instruction.NAME,
                "command": json.dumps(self._words, ensure_ascii=False),
                "heredoc": "" if self._file is None else self._file.body,
                "environment": pairs_part(others),
                "arguments": pairs_part(arguments),
                "user": run.user,
                "directory": run.working_dir,
                "mounts": pairs_part(dict(map(self._mount_part, self._mounts))),
                "network": "" if self._has_network() else "none",
                "platform": str(self._state.platform),
                # What has no /proc may make something else.
                "isolation": "chroot" if self._is_chroot else "",
                "clock": "" if latest_ns is None else str(latest_ns),
                PARENT: self._state.parent,
            }
        )

    def _mount_part(self, mount: Mount) -> tuple[str, str]:
        """What of a mount counts: where it is and what it holds, unless that is meant to vary."""
        part = structs.asdict(mount)
        where = part.pop("target") or part.get("env") or ""
        if isinstance(mount, BindMount):
            part["content"] = self._chosen[mount].digest
            del part["origin"]
        elif isinstance(mount, CacheMount | SecretMount):
            del part["id"]
        told = (f"{name}={value}" for name, value in part.items() if value not in (None, ""))
        return where, " ".join((type(mount).__name__, *told))

    def _has_network(self) -> bool:
        return self._instruction.network != "none" and self._tools.request.has_network

    @property
    def _is_chroot(self) -> bool:
        return self._tools.request.isolation is Isolation.CHROOT

    def _make(self, addition: Addition) -> StoredLayer:
        # Only here: what is in the cache needs no namespaces, and no daemon of a mount.
        with ExitStack() as stack:
            if self._is_chroot:
                from overlayfs_py.builds.chroot_process import run
            else:
                from overlayfs_py.builds import run_refusal
                from overlayfs_py.builds.run_process import run

                stack.enter_context(run_refusal.explaining(os.fsencode(addition.directory)))
                self._tools.become_root()
            spec, kept = self._spec(addition, stack)
            result = run(spec, addition)
        if result.layer is None:
            left = os.fsdecode(kept) if kept and os.path.isdir(kept) else ""
            raise CommandFailed(" ".join(self._words), result.status, left, spec.lower)
        layer = addition.find_layer(result.layer)
        assert layer is not None
        return layer

    def _spec(self, addition: Addition, stack: ExitStack) -> tuple[RunSpec, bytes | None]:
        from overlayfs_py.builds.run_process import RunSpec, failed_place
        from overlayfs_py.containers.process import Process
        from overlayfs_py.containers.working_directory import WorkingDirectory

        builds = self._tools.store.builds
        kept = None
        if self._tools.request.keep_failed:
            kept = os.fsencode(failed_place(builds.root))
        layers = self._tools.sources.layers(self._state.diff_ids)
        mounts, variables = self._run_mounts(addition, stack)
        run = self._state.run
        process = Process(
            tuple(map(os.fsencode, self._words)),
            self._environment(variables),
            WorkingDirectory(os.fsencode(run.working_dir or "/"), is_made=True),
            run.user,
            user_is_wish=True,
        )
        spec = RunSpec(
            layers=layers,
            lower=addition.lower(layers),
            process=process,
            mounts=mounts,
            has_network=self._has_network(),
            latest_ns=self._tools.request.latest_ns,
            scratch_base=os.fsencode(addition.directory),
            keep_failed=kept,
        )
        return spec, kept

    def _environment(self, secrets: dict[str, str]) -> dict[bytes, bytes]:
        given = self._tools.request.variables.given
        values = {"PATH": DEFAULT_PATH}
        values |= {name: given[name] for name in PROXIES if name in given}
        values |= self._state.variables
        values |= secrets
        return {os.fsencode(name): os.fsencode(value) for name, value in values.items()}

    def _run_mounts(
        self, addition: Addition, stack: ExitStack
    ) -> tuple[tuple[RunMount, ...], dict[str, str]]:
        """What is mounted, and the variables that secrets become."""
        from overlayfs_py.builds.mounting import Mounting

        mounting = Mounting(self._tools, addition, self._state, stack)
        mounting.hold([mount for mount in self._mounts if isinstance(mount, CacheMount)])
        mounts: list[RunMount] = []
        variables: dict[str, str] = {}
        for mount in self._mounts:
            match mount:
                case BindMount():
                    mounts.append(mounting.bind(mount, self._chosen[mount].selected))
                case CacheMount():
                    mounts.append(mounting.cache(mount))
                case TmpfsMount():
                    mounts.append(mounting.memory(mount))
                case SecretMount():
                    mounts += mounting.secret(mount)
                    variables |= mounting.variable(mount)
        if self._file is not None:
            mounts.append(mounting.program(f"{_HEREDOCS}/{self._file.name}", self._file.body))
        return tuple(mounts), variables


def _choose(mount: BindMount, tools: RunTools) -> Chosen:
    """The files of a bind mount."""
    origin = tools.origin(mount.origin)
    source = mount.source or "/"
    asked: dict[str, str | None] = {
        "kind": "selection",
        "stack": origin.stack,
        "sources": json.dumps([source]),
    }

    def look() -> tuple[Selected, ...]:
        context = origin.open()
        return select(context.tree, [source], ignore=context.ignore)

    return Chosen(
        look,
        lambda: tools.sources.stats(origin.open()),
        tools.sources.imported,
        asked=asked if origin.stack else None,
    )
