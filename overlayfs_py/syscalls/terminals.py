"""Pseudo-terminals of a devpts that need not be the machine's own."""

from __future__ import annotations

import fcntl
import os
import struct
import termios

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls.libc import CBytes, CInt, CSize, function, out_buffer

_LONGEST_NAME = 64
_SIZE = struct.Struct("=4H")  # struct winsize

_unlockpt = function("unlockpt", CInt)
_ptsname_r = function("ptsname_r", CInt, CBytes, CSize)


class Pair(NamedTuple):
    """Both ends of a pseudo-terminal."""

    master: int
    slave: int


def open_pair(devpts: str) -> Pair:
    """Open a new pseudo-terminal of the devpts at `devpts`, which /dev/pts leads to."""
    master = os.open(f"{devpts}/ptmx", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _unlockpt(master)
        slave = os.open(_slave_name(master), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        os.close(master)
        raise
    return Pair(master, slave)


def _slave_name(master: int) -> bytes:
    name = out_buffer(_LONGEST_NAME)
    number = _ptsname_r(master, name, _LONGEST_NAME)
    if number:
        raise OSError(number, os.strerror(number))
    return name.value


def copy_size(source_fd: int, target_fd: int) -> None:
    """Give a terminal the size of another one; its foreground processes hear of it (SIGWINCH)."""
    size = fcntl.ioctl(source_fd, termios.TIOCGWINSZ, bytes(_SIZE.size))
    fcntl.ioctl(target_fd, termios.TIOCSWINSZ, size)


def set_size(fd: int, rows: int, columns: int) -> None:
    """Give a terminal a size; its foreground processes hear of it (SIGWINCH)."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _SIZE.pack(rows, columns, 0, 0))


def become_controlling(fd: int) -> None:
    """Make a terminal that of this session, whose leader this process is."""
    fcntl.ioctl(fd, termios.TIOCSCTTY, 0)
