"""Filters of system calls, asked of the real kernel: in a child that installs one."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
from typing import TYPE_CHECKING

import pytest

from overlayfs_py.containers import capabilities, seccomp_default, seccomp_file, seccomp_program
from overlayfs_py.containers.seccomp_profile import ALLOW, Action, Condition, Profile, Rule
from overlayfs_py.syscalls import call_numbers, namespaces, seccomp

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBERS = call_numbers.numbers_of(platform.machine())
_DEFAULT = capabilities.kept((), ())
_LOW, _HIGH, _BOTH = 7, 7 << 32, (7 << 32) | 7
_ANSWERED = 99  # an errno that no call has by itself


def errnos(profile: Profile, calls: Sequence[tuple[int, ...]]) -> list[int]:
    """What calls, of a number and arguments, end in below a filter; 0 where they succeed."""
    program = seccomp_program.compiled(profile)
    libc = ctypes.CDLL(None, use_errno=True)
    read_fd, write_fd = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            namespaces.forbid_new_privileges()
            seccomp.install(program)
            for number, *arguments in calls:
                ctypes.set_errno(0)
                words = [ctypes.c_ulong(argument) for argument in arguments]
                failed = libc.syscall(ctypes.c_long(number), *words) == -1
                os.write(write_fd, b"%d " % (ctypes.get_errno() if failed else 0))
        finally:
            os._exit(0)
    os.close(write_fd)
    with open(read_fd, "rb") as pipe:
        found = pipe.read()
    os.waitpid(pid, 0)
    return list(map(int, found.split()))


@pytest.mark.parametrize(
    ("operator", "value", "two", "held_by"),
    [
        ("EQ", _BOTH, 0, {_BOTH}),
        ("NE", _BOTH, 0, {0, _LOW, _HIGH, _BOTH - 1, _BOTH + 1}),
        ("LT", _BOTH, 0, {0, _LOW, _HIGH, _BOTH - 1}),
        ("LE", _BOTH, 0, {0, _LOW, _HIGH, _BOTH - 1, _BOTH}),
        ("GT", _BOTH, 0, {_BOTH + 1}),
        ("GE", _BOTH, 0, {_BOTH, _BOTH + 1}),
        ("MASKED_EQ", _HIGH | 1, _HIGH | 1, {_BOTH}),
        ("MASKED_EQ", _BOTH, 0, {0}),
        ("GE", 0, 0, {0, _LOW, _HIGH, _BOTH - 1, _BOTH, _BOTH + 1}),
    ],
)
def test_a_condition_is_of_all_64_bits(
    operator: str, value: int, two: int, held_by: set[int]
) -> None:
    condition = Condition(1, f"SCMP_CMP_{operator}", value, two)
    rule = Rule(("getpid",), Action("SCMP_ACT_ERRNO", _ANSWERED), (condition,))
    values = [0, _LOW, _HIGH, _BOTH - 1, _BOTH, _BOTH + 1]

    found = errnos(Profile(Action(ALLOW), (rule,)), [(_NUMBERS["getpid"], 0, v) for v in values])

    assert {v for v, number in zip(values, found, strict=True) if number == _ANSWERED} == held_by


def test_all_conditions_of_a_rule_and_any_rule() -> None:
    first = Condition(0, "SCMP_CMP_EQ", 1)
    second = Condition(1, "SCMP_CMP_GT", 5)
    rules = (
        Rule(("getpid",), Action("SCMP_ACT_ERRNO", _ANSWERED), (first, second)),
        Rule(("getpid", "getppid"), Action("SCMP_ACT_ERRNO", 98), (second,)),
        Rule(("getppid",), Action("SCMP_ACT_ERRNO", 97)),
    )
    own, parent = _NUMBERS["getpid"], _NUMBERS["getppid"]

    found = errnos(
        Profile(Action(ALLOW), rules),
        [(own, 1, 6), (own, 1, 5), (own, 2, 6), (own, 2, 5), (parent, 1, 6), (parent, 0, 0)],
    )

    # A rule without conditions comes before all others, as in libseccomp.
    assert found == [_ANSWERED, 0, 98, 0, 97, 97]


_AF_ALG, _AF_VSOCK = 38, 40
_CLONE_NEWUSER = 0x10000000
_ASK_PERSONALITY = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("name", "arguments", "number"),
    [
        ("unshare", (_CLONE_NEWUSER,), errno.EPERM),
        ("clone", (_CLONE_NEWUSER | 17,), errno.EPERM),
        ("clone3", (), errno.ENOSYS),
        ("mount", (), errno.EPERM),
        ("keyctl", (), errno.EPERM),
        ("io_uring_setup", (), errno.EPERM),
        ("bpf", (), errno.EPERM),
        ("userfaultfd", (), errno.EPERM),
        ("open_by_handle_at", (), errno.EPERM),
        ("reboot", (), errno.EPERM),
        ("personality", (1,), errno.EPERM),
        ("personality", (_ASK_PERSONALITY,), 0),
        ("socket", (_AF_ALG, 5, 0), errno.EPERM),
        ("socket", (_AF_VSOCK, 1, 0), errno.EPERM),
        ("socket", (46, 1, 0), errno.EPERM),
        ("socket", (2, 1, 0), 0),
        ("socket", (16, 3, 0), 0),
        ("getpid", (), 0),
        ("chroot", (0,), errno.EFAULT),
        ("ptrace", (99, 1), errno.ESRCH),
        ("listns", (), errno.ENOSYS),
    ],
)
def test_what_a_container_may_call(name: str, arguments: tuple[int, ...], number: int) -> None:
    profile = seccomp_default.default_profile(_DEFAULT)

    assert errnos(profile, [(_NUMBERS[name], *arguments)]) == [number]


def test_a_capability_brings_its_calls() -> None:
    kept = capabilities.kept(("SYS_ADMIN", "SYS_PTRACE"), ("SYS_CHROOT",))
    calls = [
        (_NUMBERS["mount"], 0, 0, 0, 0, 0),
        (_NUMBERS["unshare"], 0),
        (_NUMBERS["kcmp"], 0, 0, 99),
        (_NUMBERS["chroot"], 0),
        (_NUMBERS["pivot_root"], 0, 0),
    ]

    found = errnos(seccomp_default.default_profile(kept), calls)

    assert found[0] in (errno.EFAULT, errno.EINVAL)
    assert found[1:] == [0, errno.ESRCH, errno.EPERM, errno.EPERM]


def test_numbers_that_nobody_knows_do_not_exist() -> None:
    profile = seccomp_default.default_profile(_DEFAULT)
    x32 = (1 << 30) | _NUMBERS["getpid"]

    assert errnos(profile, [(5000,), (x32,)]) == [errno.ENOSYS] * 2
    # A list of what is forbidden is not got round by other numbers of the same calls.
    lenient = Profile(Action(ALLOW), (Rule(("getpid",), Action("SCMP_ACT_ERRNO", 1)),))
    assert errnos(lenient, [(x32,), (_NUMBERS["getpid"],)])[1] == errno.EPERM
    assert errnos(lenient, [(x32,)])[0] != 0


@pytest.mark.skipif(platform.machine() != "x86_64", reason="of the 32-bit calls of x86_64")
def test_programs_of_32_bits_have_their_own_numbers() -> None:
    program = seccomp_program.compiled(seccomp_default.default_profile(_DEFAULT))

    assert program.count((0x40000003).to_bytes(4, "little")) == 1  # AUDIT_ARCH_I386


def file_of(*calls: dict[str, object], default: str = "SCMP_ACT_ERRNO") -> str:
    return json.dumps({"defaultAction": default, "syscalls": list(calls)})


@pytest.mark.parametrize(
    ("when", "counts"),
    [
        ({}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}}, False),
        ({"excludes": {"caps": ["CAP_SYS_ADMIN"]}, "includes": {}}, True),
        ({"includes": {"arches": ["amd64", "arm64"]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"excludes": {"arches": ["amd64", "arm64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "99.0"}}, False),
    ],
)
def test_rules_of_a_file_that_count(when: dict[str, object], counts: bool) -> None:
    text = file_of({"names": ["getpid", "nosuch"], "action": "SCMP_ACT_ALLOW", **when})

    assert bool(seccomp_file.parse(text, _DEFAULT).rules) == counts


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no seccomp profile"),
        ("[]", "no seccomp profile"),
        ("{}", "defaultAction"),
        (file_of(default="SCMP_ACT_NOTIFY"), "SCMP_ACT_NOTIFY"),
        (file_of({"names": ["read"], "action": "SCMP_ACT_TRACE"}), "SCMP_ACT_TRACE"),
        (file_of({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 5000}), "5000"),
        (
            file_of(
                {
                    "names": ["read"],
                    "action": "SCMP_ACT_ALLOW",
                    "args": [{"index": 6, "value": 1, "op": "SCMP_CMP_EQ"}],
                }
            ),
            "index 6",
        ),
        (file_of({"name": "x", "action": ALLOW, "includes": {"caps": ["CAP_X"]}}), "CAP_X"),
        (file_of({"name": "x", "action": ALLOW, "includes": {"minKernel": "x"}}), "minKernel"),
    ],
)
def test_what_is_no_profile_is_said(text: str, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        seccomp_file.parse(text, _DEFAULT)
