"""signalfd(2): signals that are read from a descriptor, beside what else is polled."""

from __future__ import annotations

import os
import struct
import sys
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls.libc import CBytes, CInt, function

if TYPE_CHECKING:
    from collections.abc import Iterable

_WORD_BYTES = 8  # of the mask; a machine of 32 bits and big ends first would halve it
_SIGSET_BYTES = 128  # glibc's sigset_t; the kernel reads the first word
_SIGINFO_BYTES = 128  # struct signalfd_siginfo
_SIGINFO = struct.Struct("=Iii")  # ssi_signo, ssi_errno, ssi_code

_signalfd = function("signalfd", CInt, CBytes, CInt)


class Received(NamedTuple):
    """A signal, and who sent it: above 0 the kernel, at most 0 a process (sigaction(2))."""

    number: int
    code: int


def open_signal_fd(numbers: Iterable[int]) -> int:
    """Return a non-blocking descriptor that gives these signals, which must be blocked."""
    mask = sum(1 << (number - 1) for number in numbers)
    sigset = mask.to_bytes(_WORD_BYTES, sys.byteorder).ljust(_SIGSET_BYTES, b"\0")
    return _signalfd(-1, sigset, os.O_NONBLOCK | os.O_CLOEXEC)


def read_signal(fd: int) -> Received | None:
    """Return the next pending signal, None where there is none."""
    try:
        number, _, code = _SIGINFO.unpack_from(os.read(fd, _SIGINFO_BYTES))
    except BlockingIOError:
        return None
    return Received(number, code)
