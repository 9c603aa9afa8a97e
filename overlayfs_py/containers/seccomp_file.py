"""Docker's files of seccomp profiles.

Sources: moby/profiles, seccomp (the form; which rules count for a container).
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

import msgspec

from overlayfs_py.containers import capabilities
from overlayfs_py.containers.seccomp_profile import (
    ACTIONS,
    ERRNO,
    OPERATORS,
    Action,
    Condition,
    Profile,
    Rule,
    docker_architecture,
)

if TYPE_CHECKING:
    from collections.abc import Collection

_ARGUMENTS = 6
_MAX_WORD = (1 << 64) - 1
_MAX_ERRNO = 4095
_KERNEL = re.compile(r"([0-9]+)\.([0-9]+)")


class _Argument(msgspec.Struct, frozen=True):
    index: int
    value: int
    op: str
    valueTwo: int = 0


class _When(msgspec.Struct, frozen=True):
    caps: tuple[str, ...] | None = None
    arches: tuple[str, ...] | None = None
    minKernel: str = ""


class _Call(msgspec.Struct, frozen=True):
    action: str
    names: tuple[str, ...] | None = None
    name: str = ""
    errnoRet: int | None = None
    args: tuple[_Argument, ...] | None = None
    includes: _When | None = None
    excludes: _When | None = None


class _File(msgspec.Struct, frozen=True):
    defaultAction: str
    defaultErrnoRet: int | None = None
    syscalls: tuple[_Call, ...] | None = None


def parse(text: str | bytes, kept: Collection[int]) -> Profile:
    """Return what a file says for processes with some capabilities.

    Raises:
        ValueError: it is no profile, or one that cannot be obeyed here.
    """
    try:
        file = msgspec.json.decode(text, type=_File)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(f"no seccomp profile: {error}") from None
    default = _action(file.defaultAction, file.defaultErrnoRet)
    calls = [call for call in file.syscalls or () if _counts(call, kept)]
    rules = map(_rule, calls)
    # Libseccomp, by which docker obeys them, knows no rule that says what the default is.
    return Profile(default, tuple(rule for rule in rules if rule.action != default))


def _rule(call: _Call) -> Rule:
    names = (*(call.names or ()), *((call.name,) if call.name else ()))
    conditions = tuple(_condition(found) for found in call.args or ())
    return Rule(names, _action(call.action, call.errnoRet), conditions)


def _action(name: str, number: int | None) -> Action:
    if name not in ACTIONS:
        raise ValueError(f"{name}: none of {', '.join(ACTIONS)}")
    if name != ERRNO:
        return Action(name)
    if number is None:
        number = errno.EPERM
    if not 0 <= number <= _MAX_ERRNO:
        raise ValueError(f"errnoRet {number}: not an errno")
    return Action(name, number)


def _condition(found: _Argument) -> Condition:
    if found.op not in OPERATORS:
        raise ValueError(f"{found.op}: none of {', '.join(sorted(OPERATORS))}")
    if not 0 <= found.index < _ARGUMENTS:
        raise ValueError(f"index {found.index}: a call has {_ARGUMENTS} arguments")
    if not (0 <= found.value <= _MAX_WORD and 0 <= found.valueTwo <= _MAX_WORD):
        raise ValueError(f"value {found.value}: not of 64 bits")
    return Condition(found.index, found.op, found.value, found.valueTwo)


def _counts(call: _Call, kept: Collection[int]) -> bool:
    """Whether a rule is for a container (moby/profiles, seccomp/seccomp_linux.go)."""
    without, needs = call.excludes or _When(), call.includes or _When()
    own = docker_architecture()
    if any(_has(name, kept) for name in without.caps or ()) or own in (without.arches or ()):
        return False
    if needs.arches and own not in needs.arches:
        return False
    if not all(_has(name, kept) for name in needs.caps or ()):
        return False
    return not needs.minKernel or _kernel(os.uname().release) >= _kernel(needs.minKernel)


def _has(name: str, kept: Collection[int]) -> bool:
    return capabilities.number_of(capabilities.normal_name(name)) in kept


def _kernel(text: str) -> tuple[int, int]:
    found = _KERNEL.match(text)
    if found is None:
        raise ValueError(f"minKernel {text!r}: not of the form 4.8")
    return int(found[1]), int(found[2])
