"""Capabilities of this process: capset(2), and the bounding set of prctl(2)."""

from __future__ import annotations

import errno
import struct
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.libc import CBytes, CInt, CULong, function

if TYPE_CHECKING:
    from collections.abc import Container

# linux/prctl.h
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4

_VERSION_3 = 0x20080522  # linux/capability.h: two sets of 32 bits
_HEADER = struct.Struct("=Ii")
_SETS = struct.Struct("=6I")  # effective, permitted, inheritable; then the same of 32 and above

_prctl = function("prctl", CInt, CULong, CULong, CULong, CULong)
_capset = function("capset", CBytes, CBytes)


def keep_only(kept: Container[int]) -> None:
    """Give up all capabilities but these, for good: no program that is run gets others back.

    Needs CAP_SETPCAP. The inheritable and the ambient set are empty afterwards.
    """
    permitted = 0
    for number in held():
        if number in kept:
            permitted |= 1 << number
        else:
            _prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    low, high = permitted & 0xFFFFFFFF, permitted >> 32
    _capset(_HEADER.pack(_VERSION_3, 0), _SETS.pack(low, low, 0, high, high, 0))


def held() -> list[int]:
    """The capabilities in the bounding set; the kernel knows where their numbers end."""
    held = []
    for number in range(64):
        try:
            if _prctl(_PR_CAPBSET_READ, number, 0, 0, 0):
                held.append(number)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            break
    return held
