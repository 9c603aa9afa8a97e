"""A profile as the program that the kernel runs at each system call: classic BPF.

Plan: for each kind of program that the machine runs, find the outcome of a call by its number, in
ranges of equal outcome, by halving. An outcome is an answer, or where a rule has conditions some
instructions that end in one. The kernel remembers the calls that are allowed whatever their
arguments, and asks the program about the others only (kernel/seccomp.c, seccomp_cache_prepare).
"""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from overlayfs_py.containers.seccomp_profile import ACTIONS, ALLOW, ERRNO, machines
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import call_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from overlayfs_py.containers.seccomp_profile import Action, Condition, Profile

# linux/audit.h
_AUDIT_ARCH = {
    "x86_64": 0xC000003E,
    "i386": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
}
_KILL_PROCESS = ACTIONS["SCMP_ACT_KILL_PROCESS"]
_NO_SUCH_CALL = ACTIONS[ERRNO] | errno.ENOSYS
_LENIENT = (ACTIONS[ALLOW], ACTIONS["SCMP_ACT_LOG"])
_X32 = 1 << 30  # of a number, on x86_64: a call with 32-bit pointers, which hardly a kernel has

# linux/bpf_common.h
_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_AND = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP = 0x05  # BPF_JMP | BPF_JA
_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
_NOT_LESS = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_RETURN = 0x06  # BPF_RET | BPF_K
_FARTHEST = 255  # that a condition jumps
_HOLDS, _FAILS = -1, -2  # where a test jumps to, until that is known

# struct seccomp_data of linux/seccomp.h; both kinds of machines are little-endian.
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16
_WORD = 0xFFFFFFFF
_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter


class Instruction(NamedTuple):
    """One of BPF; jumps count from the next."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0


_Code = tuple[Instruction, ...]


def compiled(profile: Profile) -> bytes:
    """Return the program, as `syscalls.seccomp.install` takes it."""
    code: list[Instruction] = [Instruction(_LOAD, _ARCH_AT)]
    for machine in machines():
        block = _of_machine(profile, machine)
        code += [
            Instruction(_EQUAL, _AUDIT_ARCH[machine], 1, 0),
            Instruction(_JUMP, len(block)),
            *block,
        ]
    code.append(Instruction(_RETURN, _KILL_PROCESS))
    return b"".join(
        _INSTRUCTION.pack(one.code, one.if_true, one.if_false, one.value) for one in code
    )


def _of_machine(profile: Profile, machine: str) -> _Code:
    outcomes = _outcomes(profile, call_numbers.numbers_of(machine))
    default = _value(profile.default)
    ranges = _ranges(outcomes, _answer(default))
    if default not in _LENIENT:
        # As runc: what is newer than the profile does not exist, so that programs do without.
        ranges.append((max(outcomes, default=-1) + 1, _answer(_NO_SUCH_CALL)))
    elif machine == "x86_64":
        ranges.append((_X32, _answer(_NO_SUCH_CALL)))
    return (Instruction(_LOAD, _NUMBER_AT), *_search(ranges))


def _outcomes(profile: Profile, numbers: Mapping[str, int]) -> dict[int, _Code]:
    """What becomes of each call that a rule names."""
    certain: dict[int, _Code] = {}
    uncertain: dict[int, _Code] = {}
    for rule in profile.rules:
        answer = _answer(_value(rule.action))
        for number in (numbers[name] for name in rule.names if name in numbers):
            if rule.conditions:
                uncertain[number] = uncertain.get(number, ()) + _tested(rule.conditions, answer)
            else:
                certain.setdefault(number, answer)
    end = _answer(_value(profile.default))
    return {**{number: code + end for number, code in uncertain.items()}, **certain}


def _ranges(outcomes: Mapping[int, _Code], default: _Code) -> list[tuple[int, _Code]]:
    """Where ranges of equal outcome begin, the first at 0; what has none gets the default."""
    found: list[tuple[int, _Code]] = [(0, outcomes.get(0, default))]
    for number in sorted({*outcomes, *(number + 1 for number in outcomes)} - {0}):
        code = outcomes.get(number, default)
        if code != found[-1][1]:
            found.append((number, code))
    return found


def _search(ranges: Sequence[tuple[int, _Code]]) -> _Code:
    """Find the range that the loaded number is in."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(below) <= _FARTHEST:
        return (Instruction(_NOT_LESS, first, len(below), 0), *below, *above)
    jump = Instruction(_JUMP, len(below))
    return (Instruction(_NOT_LESS, first, 0, 1), jump, *below, *above)


def _answer(value: int) -> _Code:
    return (Instruction(_RETURN, value),)


def _value(action: Action) -> int:
    return ACTIONS[action.name] | action.errno


def _tested(conditions: Iterable[Condition], answer: _Code) -> _Code:
    """Give an answer where all conditions hold, else go on after it."""
    code = answer
    for condition in reversed(tuple(conditions)):
        code = (*_resolved(_test(condition), len(code)), *code)
    return code


def _test(condition: Condition) -> _Code:
    """Look at an argument, word by word; jumps are to what comes next, `_HOLDS` or `_FAILS`."""
    place = _ARGUMENTS_AT + 8 * condition.argument
    value, mask = condition.value, None
    if condition.operator == "SCMP_CMP_MASKED_EQ":
        mask, value = condition.value, condition.value_two
    low, high = value & _WORD, value >> 32
    load_low = _loaded(place, None if mask is None else mask & _WORD)
    load_high = _loaded(place + 4, None if mask is None else mask >> 32)
    match condition.operator.removeprefix("SCMP_CMP_"):
        case "EQ" | "MASKED_EQ":
            on_high = [Instruction(_EQUAL, high, 0, _FAILS)]
            on_low = Instruction(_EQUAL, low, 0, _FAILS)
        case "NE":
            on_high = [Instruction(_EQUAL, high, 0, _HOLDS)]
            on_low = Instruction(_EQUAL, low, _FAILS, 0)
        case "GT" | "GE" as operator:
            more = Instruction(_GREATER, high, _HOLDS, 0)
            on_high = [more, Instruction(_EQUAL, high, 0, _FAILS)]
            on_low = Instruction(_GREATER if operator == "GT" else _NOT_LESS, low, 0, _FAILS)
        case operator:
            more = Instruction(_GREATER, high, _FAILS, 0)
            on_high = [more, Instruction(_EQUAL, high, 0, _HOLDS)]
            on_low = Instruction(_GREATER if operator == "LE" else _NOT_LESS, low, _FAILS, 0)
    return (*load_high, *on_high, *load_low, on_low)


def _loaded(place: int, mask: int | None) -> _Code:
    load = Instruction(_LOAD, place)
    return (load,) if mask is None else (load, Instruction(_AND, mask))


def _resolved(test: _Code, rest: int) -> Iterator[Instruction]:
    """Have a test's jumps lead to its end, or past the `rest` of the rule after that."""
    for left, one in zip(reversed(range(len(test))), test, strict=True):
        places = {0: 0, _HOLDS: left, _FAILS: left + rest}
        code, value, if_true, if_false = one
        yield Instruction(code, value, places[if_true], places[if_false])
