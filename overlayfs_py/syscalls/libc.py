"""The one door to C: declare a libc function once, get a Python callable that raises OSError.

Only `syscalls` imports ctypes. A declared function releases the GIL while it runs and keeps
errno to its own thread (`use_errno`).
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)

CInt = ctypes.c_int
CUInt = ctypes.c_uint
CLong = ctypes.c_long
CULong = ctypes.c_ulong
COff = ctypes.c_int64
CSize = ctypes.c_size_t
CBytes = ctypes.c_char_p
CPointer = ctypes.c_void_p


def function(name: str, *arguments: type, result: type = CInt) -> Callable[..., int]:
    """Return libc's `name` as a callable that raises OSError where it answers -1.

    EINTR is answered by calling again, as Python's own `os` functions do (PEP 475).

    Raises:
        AttributeError: this libc has no such function.
    """
    # By item: an attribute is shared, and syscall(2) has one set of argument types per number.
    raw = _libc[name]
    raw.argtypes = arguments
    raw.restype = result

    def call(*values: object) -> int:
        while True:
            answer: int = raw(*values)
            if answer != -1:
                return answer
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    call.__name__ = name
    return call


def syscall(number: int, *arguments: type) -> Callable[..., int]:
    """Return system call `number` as a callable that raises OSError where it answers -1."""
    # syscall(2) is variadic: without argtypes for every slot ctypes would pass 32 bits.
    call = function("syscall", CLong, *arguments, result=CLong)

    def numbered(*values: object) -> int:
        return call(number, *values)

    return numbered


def system_call_errno(number: int, *arguments: type) -> Callable[..., int]:
    """Return system call `number` as a callable that returns its errno, 0 where it succeeds.

    For calls of which a failure is an ordinary answer: an exception takes longer than the call.
    """
    raw = _libc["syscall"]
    raw.argtypes = (CLong, *arguments)
    raw.restype = CLong
    get_errno = ctypes.get_errno

    def call(*values: object) -> int:
        return get_errno() if raw(number, *values) == -1 else 0

    return call


def system_call_result(number: int, *arguments: type) -> Callable[..., int]:
    """Return system call `number` as a callable that returns its result, or minus its errno."""
    raw = _libc["syscall"]
    raw.argtypes = (CLong, *arguments)
    raw.restype = CLong
    get_errno = ctypes.get_errno

    def call(*values: object) -> int:
        result: int = raw(number, *values)
        return -get_errno() if result == -1 else result

    return call


def out_buffer(size: int) -> ctypes.Array[ctypes.c_char]:
    """Return a zeroed buffer for a call to fill, passed as CBytes; `.raw` is what is in it."""
    return ctypes.create_string_buffer(size)


def address_of(buffer: ctypes.Array[ctypes.c_char]) -> int:
    """Return where a buffer lies, for a structure that points to it; it must outlive that."""
    return ctypes.addressof(buffer)
