"""ioprio_get(2), for which neither Python nor libc has a function."""

from __future__ import annotations

import os

from overlayfs_py.syscalls.libc import CInt, syscall

_IOPRIO_GET = {"x86_64": 252, "aarch64": 31, "riscv64": 31, "ppc64le": 274}
_WHO_PROCESS = 1  # linux/ioprio.h

_number = _IOPRIO_GET.get(os.uname().machine)
_ioprio_get = None if _number is None else syscall(_number, CInt, CInt)


def io_priority_of(pid: int) -> int | None:
    """Return class and level of a process's IO priority; None where the call's number is not known.

    Raises:
        OSError: there is no such process.
    """
    return None if _ioprio_get is None else _ioprio_get(_WHO_PROCESS, pid)
