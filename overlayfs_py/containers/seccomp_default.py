"""The system calls that a container may make where nothing else is asked for: docker's choice.

All that this project knows the number of, but for those named here: docker's own file says the
same the other way round (moby/profiles, seccomp/default.json). Calls of old 32-bit programs that
podman lets pass and docker does not (sigaction, readdir) pass.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from overlayfs_py.containers import capabilities
from overlayfs_py.containers.seccomp_profile import (
    ALLOW,
    ERRNO,
    Action,
    Condition,
    Profile,
    Rule,
    machines,
)
from overlayfs_py.syscalls import call_numbers, namespaces

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# Calls that need one of a call's capabilities, of those that a container may be given.
_OF_CAPABILITIES = {
    "DAC_READ_SEARCH": ("open_by_handle_at",),
    "SYS_ADMIN": (
        *("bpf", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick"),
        *("lookup_dcookie", "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount"),
        *("mount_setattr", "move_mount", "open_tree", "perf_event_open", "quotactl"),
        *("quotactl_fd", "setdomainname", "sethostname", "setns", "syslog", "umount", "umount2"),
        "unshare",
    ),
    "SYS_BOOT": ("reboot",),
    "SYS_CHROOT": ("chroot",),
    "SYS_MODULE": ("delete_module", "finit_module", "init_module"),
    "SYS_NICE": ("get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"),
    "SYS_PACCT": ("acct",),
    "SYS_PTRACE": ("kcmp", "pidfd_getfd", "process_madvise"),
    "SYS_RAWIO": ("ioperm", "iopl"),
    "SYS_TIME": ("clock_settime", "clock_settime64", "settimeofday", "stime"),
    "SYS_TTY_CONFIG": ("vhangup",),
    "SYSLOG": ("syslog",),
    "BPF": ("bpf",),
    "PERFMON": ("perf_event_open",),
}
# Calls that no container makes: of the whole machine, of keys, which know no namespaces, or with
# too many holes in the past; and what Linux had once.
_NEVER = (
    *("add_key", "keyctl", "request_key", "io_uring_enter", "io_uring_register", "io_uring_setup"),
    *("kexec_file_load", "kexec_load", "migrate_pages", "move_pages", "pivot_root", "swapoff"),
    *("swapon", "userfaultfd", "nfsservctl", "pciconfig_iobase", "pciconfig_read", "uprobe"),
    *("pciconfig_write", "vm86", "vm86old", "_sysctl", "afs_syscall", "bdflush", "break"),
    *("create_module", "ftime", "get_kernel_syms", "getpmsg", "gtty", "idle", "lock", "mpx"),
    *("nice", "oldfstat", "oldlstat", "oldolduname", "oldstat", "olduname", "prof", "profil"),
    *("putpmsg", "query_module", "security", "sgetmask", "ssetmask", "stty", "sysfs", "tuxcall"),
    *("ulimit", "uselib", "ustat", "vserver"),
)
# Later than docker's file: there is no such call, as far as a program can tell.
_LATER = ("open_tree_attr", "file_getattr", "file_setattr", "listns")
_CONDITIONAL = ("clone", "personality", "socket")
_ALLOWED = Action(ALLOW)
_NEW_NAMESPACES = (
    namespaces.CLONE_NEWNS
    | namespaces.CLONE_NEWUTS
    | namespaces.CLONE_NEWIPC
    | namespaces.CLONE_NEWUSER
    | namespaces.CLONE_NEWPID
    | namespaces.CLONE_NEWNET
    | namespaces.CLONE_NEWCGROUP
)
# linux/personality.h: Linux, 32 bits or not, old uname or not; and what only asks.
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
# linux/socket.h: families that speak to the machine around (VSOCK) or to its kernel's ciphers
# (ALG), or that nobody has used for long.
_FAMILIES = (
    *range(12),
    *(13, 14, 15, 16, 17, 18, 21, 22, 24, 26, 27, 28, 29, 30, 31, 32, 33, 35, 36, 39, 41, 42),
    *(43, 44, 45),
)


def default_profile(kept: Collection[int]) -> Profile:
    """Return docker's rules for processes with some capabilities."""
    return Profile(Action(ERRNO, errno.EPERM), tuple(_rules(kept)))


def _rules(kept: Collection[int]) -> Iterator[Rule]:
    yield Rule(tuple(_allowed(kept)), _ALLOWED)
    if capabilities.number_of("SYS_ADMIN") in kept:
        yield Rule(("clone",), _ALLOWED)
    else:
        yield _where("clone", "SCMP_CMP_MASKED_EQ", _NEW_NAMESPACES)
        # Its flags are in memory, where no filter sees them; the C library then calls clone(2).
        yield Rule(("clone3",), Action(ERRNO, errno.ENOSYS))
    for value in _PERSONALITIES:
        yield _where("personality", "SCMP_CMP_EQ", value)
    for family in _FAMILIES:
        yield _where("socket", "SCMP_CMP_EQ", family)


def _where(name: str, operator: str, value: int) -> Rule:
    return Rule((name,), _ALLOWED, (Condition(0, operator, value),))


def _allowed(kept: Collection[int]) -> Iterator[str]:
    permitted = {
        name
        for capability, names in _OF_CAPABILITIES.items()
        if capabilities.number_of(capability) in kept
        for name in names
    }
    bound = {name for names in _OF_CAPABILITIES.values() for name in names}
    kept_back = (bound - permitted) | {*_NEVER, *_LATER, *_CONDITIONAL}
    known = {name for machine in machines() for name in call_numbers.numbers_of(machine)}
    return iter(sorted(known - kept_back))
