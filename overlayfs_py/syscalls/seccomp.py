"""A filter of the system calls of this process, and of all that it will start: prctl(2)."""

from __future__ import annotations

import struct

from overlayfs_py.syscalls.libc import CBytes, CInt, CULong, address_of, function, out_buffer

_PR_SET_SECCOMP = 22  # linux/prctl.h
_SECCOMP_MODE_FILTER = 2  # linux/seccomp.h
_INSTRUCTION_BYTES = 8  # struct sock_filter of linux/filter.h
_PROGRAM = struct.Struct("@HP")  # struct sock_fprog: how many instructions, and where

_prctl = function("prctl", CInt, CULong, CBytes)


def install(program: bytes) -> None:
    """Let a program, an array of struct sock_filter, decide on all calls from now on, for good.

    Needs no_new_privs, or CAP_SYS_ADMIN in this process's user namespace.

    Raises:
        OSError: EINVAL where the kernel has no filters, or the program makes no sense.
    """
    instructions = out_buffer(len(program))
    instructions.raw = program
    count = len(program) // _INSTRUCTION_BYTES
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, _PROGRAM.pack(count, address_of(instructions)))
