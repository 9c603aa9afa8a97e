"""What variables mean in a Dockerfile: those of the build, of ARGs before FROM, of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, structs

from overlayfs_py.dockerfile.expanding import expand_at
from overlayfs_py.dockerfile.instructions import Arg

if TYPE_CHECKING:
    from collections.abc import Mapping

    from overlayfs_py.builds.state import StageState
    from overlayfs_py.dockerfile.instructions import Dockerfile
    from overlayfs_py.image.platform import Platform

# Values that every RUN has without ARG, and that no key depends on: where the build runs.
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
PROXIES = frozenset((*_PROXIES, *map(str.lower, _PROXIES)))
SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Variables(Struct, frozen=True):
    """The values of a build: what its caller gave, and what an ARG before FROM says."""

    given: Mapping[str, str]  # --build-arg
    globals: Mapping[str, str]  # automatic ones among them
    escape: str

    def declare(self, instruction: Arg, state: StageState) -> StageState:
        """The state after an ARG."""
        told = ["ARG"]
        for argument in instruction.arguments:
            name, value = argument.name, self.given.get(argument.name)
            if value is None and argument.default is not None:
                values = state.variables
                value = expand_at(instruction, argument.default, values, self.escape).text
            elif value is None:
                value = self.globals.get(name)
            if value is not None:
                state = state.with_variables({name: value})
            names = dict.fromkeys((*state.arguments, name))
            state = structs.replace(state, arguments=tuple(names))
            told.append(name if value is None else f"{name}={value}")
        return state.with_config(state.run, " ".join(told))


def of_build(
    dockerfile: Dockerfile,
    given: Mapping[str, str],
    platforms: tuple[Platform, Platform],
    target: str = "",
) -> Variables:
    """Return the values of a build.

    Args:
        dockerfile: whose ARGs before FROM count.
        given: by the caller; they count more than automatic ones.
        platforms: what the build is for, and what it runs on.
        target: the stage to build, as the caller named it.
    """
    wanted, machine = platforms
    found = {**_of_platform("BUILD", machine), **_of_platform("TARGET", wanted)}
    found["TARGETSTAGE"] = target or "default"
    found |= {name: given[name] for name in found if name in given}
    variables = Variables(given, found, dockerfile.directives.escape)
    for instruction in dockerfile.arguments:
        for argument in instruction.arguments:
            if argument.name in given:
                found[argument.name] = given[argument.name]
            elif argument.default is not None:
                value = expand_at(instruction, argument.default, found, variables.escape)
                found[argument.name] = value.text
    return variables


def unused(dockerfile: Dockerfile, given: Mapping[str, str]) -> list[str]:
    """The names that a caller gave and that no ARG asks for."""
    every = [*dockerfile.arguments]
    for stage in dockerfile.stages:
        every += [each for each in stage.instructions if isinstance(each, Arg)]
    declared = {argument.name for arg in every for argument in arg.arguments}
    return sorted(given.keys() - declared - PROXIES - {SOURCE_DATE_EPOCH})


def _of_platform(prefix: str, platform: Platform) -> dict[str, str]:
    return {
        f"{prefix}PLATFORM": str(platform),
        f"{prefix}OS": platform.os,
        f"{prefix}OSVERSION": platform.os_version,
        f"{prefix}ARCH": platform.architecture,
        f"{prefix}VARIANT": platform.variant,
    }
