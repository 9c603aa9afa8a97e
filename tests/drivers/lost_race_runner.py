"""Serve with pyfuse3 and lose, at the end, a race that libfuse and pyfuse3 take for a failure."""

from __future__ import annotations

import ctypes
import errno

import pyfuse3

from tests.drivers.runner import main

_libc = ctypes.CDLL(None, use_errno=True)
_main = pyfuse3.main


def print_error(what: str, number: int) -> None:
    """Say on C's stderr what libfuse does when a call fails: perror(3)."""
    ctypes.set_errno(number)
    _libc.perror(what.encode())


async def main_that_loses_the_race(**options: int) -> None:
    await _main(**options)
    print_error("fuse: reading device", errno.ECONNABORTED)
    why = "fuse_session_receive_buf failed with Software caused connection abort"
    raise ExceptionGroup("of a nursery", [OSError(errno.ECONNABORTED, why)])


if __name__ == "__main__":
    pyfuse3.main = main_that_loses_the_race
    main()
