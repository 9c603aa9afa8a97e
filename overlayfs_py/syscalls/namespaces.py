"""Namespaces: unshare(2), pivot_root(2), the id maps of a user namespace, a parent-death signal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls.libc import CBytes, CInt, CULong, function

if TYPE_CHECKING:
    from collections.abc import Iterable

# linux/sched.h
CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWCGROUP = 0x02000000

# linux/prctl.h
_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_unshare = function("unshare", CInt)
_setns = function("setns", CInt, CInt)
_prctl = function("prctl", CInt, CULong, CULong, CULong, CULong)
_pivot_root = function("pivot_root", CBytes, CBytes)


class IdExtent(NamedTuple):
    """`length` ids from `inside` on in a user namespace are those from `outside` on around it."""

    inside: int
    outside: int
    length: int


def unshare(flags: int) -> None:
    """Put this process into new namespaces; with CLONE_NEWPID its later children only."""
    _unshare(flags)


def setns(fd: int, kinds: int) -> None:
    """Enter the namespace of `fd`, or with a pidfd those of a process that `kinds` names."""
    _setns(fd, kinds)


def pivot_root(new_root: bytes, put_old: bytes) -> None:
    """Make the mount at `new_root` the root of this mount namespace; the old one moves away."""
    _pivot_root(new_root, put_old)


def signal_when_parent_dies(number: int) -> None:
    """Have the kernel send `number` to this process when the thread that forked it ends.

    A parent that is dead already sends nothing: look, after this call.
    """
    _prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """Let this process be the parent of what its descendants leave behind, as init is."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def hide_from_tracers() -> None:
    """Keep this process, until it executes a program, from those with fewer rights.

    What /proc/PID shows of its files, its root and its memory takes CAP_SYS_PTRACE in the user
    namespace that it was started in (kernel/ptrace.c, __ptrace_may_access), whatever its ids are.
    """
    _prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def forbid_new_privileges() -> None:
    """Let no program that this process executes give it rights: no set-user-ID, no capabilities."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def map_to_root(uid: int, gid: int) -> None:
    """Make this process, which has just entered a user namespace, root of it; only that id maps.

    Needs no privilege: a process may map its own ids, once it has given up setgroups(2)
    (user_namespaces(7)).
    """
    _write("setgroups", "deny")
    for name, own in (("uid_map", uid), ("gid_map", gid)):
        if not _is_written(name):
            _write(name, format_extents([IdExtent(0, own, 1)]))


def format_extents(extents: Iterable[IdExtent]) -> str:
    """Return a map in the format of /proc/PID/uid_map."""
    return "".join(f"{inside} {outside} {length}\n" for inside, outside, length in extents)


def _is_written(name: str) -> bool:
    """Whether a map is there: newuidmap may have succeeded where newgidmap has not."""
    with open(f"/proc/self/{name}") as file:
        return bool(file.read())


def _write(name: str, text: str) -> None:
    # At once: the kernel takes a map in a single write, and only one.
    fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
