"""Reads and writes that go on after the call: io_submit(2), without libaio."""

from __future__ import annotations

import ctypes
import os
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# setup, destroy, getevents, submit (arch/x86/entry/syscalls; include/uapi/asm-generic/unistd.h).
_NUMBERS = (206, 207, 208, 209) if platform.machine() == "x86_64" else (0, 1, 4, 2)
_SETUP, _DESTROY, _GETEVENTS, _SUBMIT = _NUMBERS
PREAD, PWRITE = 0, 1

_libc = ctypes.CDLL(None, use_errno=True)


class _Iocb(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_uint32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("fd", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_uint64),
        ("iocb", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    )


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


class Queue:
    """A context of which one request at a time is under way."""

    def __init__(self, context: ctypes.c_uint64) -> None:
        self._context = context

    def submit(self, opcode: int, fd: int, buffer: memoryview, offset: int) -> None:
        """Hand a request over; `buffer` must stay until `finish`."""
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
        self._iocb = _Iocb(
            opcode=opcode, fd=fd, buffer=self._address, size=len(buffer), offset=offset
        )
        pointer = ctypes.pointer(self._iocb)
        _call(_SUBMIT, self._context, ctypes.c_long(1), ctypes.byref(pointer))

    def finish(self) -> int:
        """Wait for it; returns how many bytes it was."""
        event = _Event()
        one = ctypes.c_long(1)
        _call(_GETEVENTS, self._context, one, one, ctypes.byref(event), None)
        if event.result < 0:
            raise OSError(-event.result, os.strerror(-event.result))
        return int(event.result)


@contextmanager
def queue() -> Iterator[Queue]:
    context = ctypes.c_uint64(0)
    _call(_SETUP, ctypes.c_uint(1), ctypes.byref(context))
    try:
        yield Queue(context)
    finally:
        _call(_DESTROY, context)
