"""The files that a process's code came from: whether they are still what was loaded."""

from __future__ import annotations

import os
import sys
import time
from array import array
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

# Device, inode, size and times: what changes with any write to a file, and with any that takes its
# place. One of no file has none.
_FIELDS = 5
_NOTHING = (0,) * _FIELDS
_WORD = (1 << 64) - 1


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
        for path in sorted(_paths()):
            if _stamp(path)[-1] >= began_ns:
                raise ChangedMeanwhile(path)
        # Strings and numbers of its own, side by side: after each fork the kernel copies every page
        # that is touched, and a count of references is.
        self._paths = [os.fsencode(path) for path in sorted(_paths() | _directories())]
        self._stamps = _stamps(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def changed(self) -> str | None:
        """The first file that is not what it was, None if all are."""
        found = _stamps(self._paths)
        if found == self._stamps:
            return None
        at = next(at for at, each in enumerate(found) if each != self._stamps[at])
        return os.fsdecode(self._paths[at // _FIELDS])


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


def _stamps(paths: Iterable[bytes]) -> array[int]:
    found = array("Q")
    for path in paths:
        found.extend(_stamp(path))
    return found


def _stamp(path: str | bytes) -> tuple[int, ...]:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return _NOTHING
    times = (found.st_mtime_ns & _WORD, found.st_ctime_ns & _WORD)  # some are before 1970
    return (found.st_dev, found.st_ino, found.st_size, *times)


def _began_ns() -> int:
    """When this process began, by the clock that files have their times of."""
    with open("/proc/self/stat", "rb") as file:
        ticks = int(file.read().rpartition(b")")[2].split()[19])
    age_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * 10**9 // _TICKS_PER_S
    return time.time_ns() - age_ns
