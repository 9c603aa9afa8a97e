"""The order of instructions: which one keeps the cache, and which one throws it away."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.advice.findings import Found, Rule, Severity
from overlayfs_py.advice.view import takes_everything
from overlayfs_py.dockerfile.instructions import Arg, Copy, CopyingInstruction, Env, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.advice.view import RunView, View
    from overlayfs_py.dockerfile.instructions import Instruction, Stage

_CHANGING = re.compile(
    r"(^|_)(BUILD_?(DATE|TIME|NUMBER|ID)|DATE|TIMESTAMP|(GIT_?)?(SHA|COMMIT|REV|REVISION))(_|$)",
    re.IGNORECASE,
)


class _Installer(NamedTuple):
    """A command that takes long and needs few files of the context."""

    program: re.Pattern[str]
    actions: tuple[str, ...]
    needs: str


_INSTALLERS = (
    _Installer(re.compile("npm"), ("ci", "install", "i"), "package.json package-lock.json"),
    _Installer(re.compile("yarn"), ("install", ""), "package.json yarn.lock"),
    _Installer(re.compile("pnpm"), ("install", "i"), "package.json pnpm-lock.yaml"),
    _Installer(re.compile("pip[0-9.]*"), ("install",), "requirements.txt"),
    _Installer(re.compile("poetry"), ("install",), "pyproject.toml poetry.lock"),
    _Installer(re.compile("uv"), ("sync",), "pyproject.toml uv.lock"),
    _Installer(re.compile("bundle"), ("install", ""), "Gemfile Gemfile.lock"),
    _Installer(re.compile("composer"), ("install",), "composer.json composer.lock"),
    _Installer(re.compile("go"), ("mod", "get"), "go.mod go.sum"),
    _Installer(re.compile("cargo"), ("fetch",), "Cargo.toml Cargo.lock"),
    _Installer(re.compile("mvn"), ("dependency:go-offline", "dependency:resolve"), "pom.xml"),
    _Installer(re.compile("apt-get|apt|yum|dnf|microdnf|zypper"), ("install",), ""),
    _Installer(re.compile("apk"), ("add",), ""),
)


def _order(view: View) -> Iterator[Found]:
    for stage in view.stages:
        if not stage.used:
            continue
        wide: CopyingInstruction | None = None
        views = {id(run.run): run for run in stage.runs}
        for each in stage.stage.instructions:
            if isinstance(each, Copy) and not each.origin and takes_everything(each):
                wide = each
            run = views.get(id(each))
            installer = _installer(run) if run is not None and wide is not None else None
            if installer is not None and wide is not None and run is not None:
                yield _order_found(view, wide, run, installer)
                break


def _installer(run: RunView) -> _Installer | None:
    for placed in run.commands:
        command = placed.command
        words = command.words
        if words[1:2] == ["-m"] and words[0].startswith("python"):
            words = words[2:]
        program = words[0].rpartition("/")[2] if words else ""
        action = next((word for word in words[1:] if not word.startswith("-")), "")
        local = action == "install" and {".", "-e"} & set(words[2:])
        for installer in _INSTALLERS:
            if installer.program.fullmatch(program) and action in installer.actions and not local:
                return installer
    return None


def _order_found(
    view: View, wide: CopyingInstruction, run: RunView, installer: _Installer
) -> Found:
    text = run.run.source
    if installer.needs:
        rewrite = f"COPY {installer.needs} ./\n{text}\n{wide.source}"
    else:
        rewrite = f"{text}\n{wide.source}"
    return Found(
        wide.position,
        f"every change of a file here makes line {run.run.position.line} run again",
        cost="the time of that install, in each build",
        rewrite=rewrite,
        seconds=view.builds.seconds(run.run),
        last_line=wide.last_line,
    )


def _changing_argument(view: View) -> Iterator[Found]:
    for stage in view.stages:
        seen: list[tuple[Instruction, str]] = []
        for each in stage.stage.instructions:
            if isinstance(each, Arg | Env):
                seen += [(each, name) for name in _names(each) if _CHANGING.search(name)]
            elif isinstance(each, Run) and seen:
                below = [view.builds.seconds(run) for run in _below(stage.stage, each)]
                seconds = sum(filter(None, below)) or None
                for instruction, name in seen:
                    yield Found(
                        instruction.position,
                        f"{name} differs in each build, and line {each.position.line} comes after",
                        cost="with docker, every RUN below runs again in each build",
                        rewrite=f"{instruction.source} below the last RUN that does not need it",
                        seconds=seconds,
                    )
                break


def _below(stage: Stage, first: Run) -> list[Run]:
    """The RUNs of a stage from `first` on."""
    runs = [each for each in stage.instructions if isinstance(each, Run)]
    return runs[runs.index(first) :]


def _names(instruction: Arg | Env) -> list[str]:
    if isinstance(instruction, Arg):
        return [argument.name for argument in instruction.arguments]
    return [pair.name for pair in instruction.pairs if "$" in pair.value]


RULES = (
    Rule(
        "OrderThrowsCacheAway",
        Severity.WARNING,
        "a wide COPY before an install that needs little of it",
        _order,
    ),
    Rule(
        "ChangingArgument",
        Severity.INFO,
        "an argument that differs in each build before a RUN",
        _changing_argument,
    ),
)
