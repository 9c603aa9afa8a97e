"""The files that a process's code came from: whether they are still what was loaded."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_MAPS = "/proc/self/maps"
_DELETED = " (deleted)"
_NO_FILES = ("memfd:", "dev/zero", "SYSV")
# Read by libc at its first use of the time, or by the loader at every start of a program.
_OTHERS = ("/etc/localtime", "/etc/ld.so.preload", "/etc/ld.so.cache")
# A file's time may be that of the last tick of the clock, a hundredth of a second ago at most.
_TICK_NS = 20_000_000
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# What changes with any write to a file, and with any that takes its place; None: it is not there.
_Stamp = tuple[int, ...] | None


class ChangedMeanwhile(Exception):
    """A file has changed since this process began: it may have loaded what was there before."""


class CodeFiles:
    """All files of which this process has loaded something, as they are now."""

    def __init__(self) -> None:
        """Look at them.

        Raises:
            ChangedMeanwhile: one has changed since this process began.
        """
        began_ns = _began_ns() - _TICK_NS
        self._stamps = {path: _stamp(path) for path in sorted(_paths())}
        for path, stamp in self._stamps.items():
            if stamp is not None and stamp[-1] >= began_ns:
                raise ChangedMeanwhile(path)
        self._stamps |= {path: _stamp(path) for path in _directories()}

    def __len__(self) -> int:
        return len(self._stamps)

    def changed(self) -> str | None:
        """The first file that is not what it was, None if all are."""
        for path, stamp in self._stamps.items():
            if _stamp(path) != stamp:
                return path
        return None


def _paths() -> set[str]:
    found = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    return {path for path in found if path} | set(_mapped()) | set(_OTHERS) | {_configuration()}


def _mapped() -> Iterable[str]:
    with open(_MAPS) as maps:
        for line in maps:
            _, slash, path = line.rstrip("\n").partition("/")
            if path.endswith(_DELETED) and not path.startswith(_NO_FILES):
                raise ChangedMeanwhile(f"/{path.removesuffix(_DELETED)}")
            if slash and not path.startswith(_NO_FILES):
                yield f"/{path}"


def _configuration() -> str:
    """What says which Python a virtual environment is of, and what is found in it."""
    return os.path.join(sys.prefix, "pyvenv.cfg")


def _directories() -> set[str]:
    """Where a new file would be found before what was loaded, or be run at each start (*.pth)."""
    return {path or os.curdir for path in sys.path}


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _began_ns() -> int:
    """When this process began, by the clock that files have their times of."""
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 10**9 // _TICKS_PER_S
    return time.time_ns() - age_ns
