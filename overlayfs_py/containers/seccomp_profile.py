"""Which system calls the processes of a container may make, in the words of docker's profiles."""

from __future__ import annotations

import os

from overlayfs_py.named_tuple import NamedTuple

# What docker calls a machine; then the names in our tables and in files, with 32 bits too.
_MACHINES = {
    "x86_64": ("amd64", {"x86_64": "SCMP_ARCH_X86_64", "i386": "SCMP_ARCH_X86"}),
    "aarch64": ("arm64", {"aarch64": "SCMP_ARCH_AARCH64", "arm": "SCMP_ARCH_ARM"}),
}
ALLOW = "SCMP_ACT_ALLOW"
ERRNO = "SCMP_ACT_ERRNO"
# With a value, as linux/seccomp.h has them; SCMP_ACT_NOTIFY takes an agent, and TRACE a tracer.
ACTIONS = {
    ALLOW: 0x7FFF0000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    ERRNO: 0x00050000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
}
OPERATORS = frozenset(
    f"SCMP_CMP_{name}" for name in ("EQ", "NE", "LT", "LE", "GE", "GT", "MASKED_EQ")
)


class Condition(NamedTuple):
    """What an argument has to be; with MASKED_EQ `value` is the mask."""

    argument: int
    operator: str
    value: int
    value_two: int = 0


class Action(NamedTuple):
    """What becomes of a call."""

    name: str
    errno: int = 0  # of ERRNO


class Rule(NamedTuple):
    """What becomes of some calls, where all conditions hold."""

    names: tuple[str, ...]
    action: Action
    conditions: tuple[Condition, ...] = ()


class Profile(NamedTuple):
    """The rules of one container: one without conditions counts, else the first that fits."""

    default: Action
    rules: tuple[Rule, ...]


def is_known_here() -> bool:
    """Whether profiles can be obeyed on this kind of machine."""
    return os.uname().machine in _MACHINES


def docker_architecture() -> str:
    """What docker calls this kind of machine."""
    return _MACHINES[os.uname().machine][0]


def machines() -> dict[str, str]:
    """The kinds of programs that this machine runs, and what files call them."""
    return _MACHINES[os.uname().machine][1]
