"""fork(2) into a new pid namespace, at once.

unshare(2) with CLONE_NEWPID works once in a process, and to go back takes the rights of the
namespace outside (kernel/pid_namespace.c, copy_pid_ns and pidns_install). clone(2) has neither
limit; like os.fork it must tell the interpreter what it does.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

from overlayfs_py.syscalls.namespaces import CLONE_NEWPID, unshare

# What clone(2) is called by; elsewhere its arguments come in another order, or nobody asked yet.
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220, "ppc64le": 120}

_python = ctypes.pythonapi
# Unlike CDLL it keeps the interpreter's lock: nothing else may run between the hooks.
_libc = ctypes.PyDLL(None, use_errno=True)


def fork_in_new_pid_namespace() -> int:
    """Fork as os.fork does; the child is the first process of a pid namespace.

    Only to be called while there is one thread.
    """
    number = _CLONE.get(os.uname().machine)
    if number is None:
        unshare(CLONE_NEWPID)
        return os.fork()
    _python.PyOS_BeforeFork()
    pid: int = _libc.syscall(
        ctypes.c_long(number), ctypes.c_ulong(CLONE_NEWPID | signal.SIGCHLD), None, None, None, None
    )
    failure = ctypes.get_errno()
    if pid == 0:
        _python.PyOS_AfterFork_Child()
        return 0
    _python.PyOS_AfterFork_Parent()
    if pid < 0:
        raise OSError(failure or errno.EPERM, os.strerror(failure or errno.EPERM))
    return pid
