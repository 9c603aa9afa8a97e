"""The `stderr` of C libraries in this process, apart from descriptor 2 and Python's."""

from __future__ import annotations

import ctypes
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.libc import CBytes, CInt, CPointer, CSize, function

if TYPE_CHECKING:
    from collections.abc import Iterator

_fdopen = function("fdopen", CInt, CBytes, result=CPointer)
_setvbuf = function("setvbuf", CPointer, CPointer, CInt, CSize)
_fclose = function("fclose", CPointer)
_UNBUFFERED = 2  # stdio.h, _IONBF


@contextmanager
def redirected(fd: int) -> Iterator[None]:
    """Let what C code prints to `stderr` go to `fd`, of which the caller stays the owner.

    glibc alone lets it be assigned (its manual, "Standard Streams"); elsewhere nothing changes.
    """
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        yield
        return
    stream = _fdopen(os.dup(fd), b"w")
    _setvbuf(stream, None, _UNBUFFERED, 0)
    variable = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")
    original = variable.value
    variable.value = stream
    try:
        yield
    finally:
        variable.value = original
        _fclose(stream)
