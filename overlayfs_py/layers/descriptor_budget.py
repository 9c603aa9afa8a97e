"""How many descriptors the caches of a mount may hold: what the process's limit leaves.

A layer, a pack and a volume hold one each for as long as they are mounted, so they are counted
before the first is opened. What is then open is counted, not computed; of what remains the caches
get half. Half of the other half is for deleted objects that are still in use, which nobody can
close for us.
"""

from __future__ import annotations

import errno
import os

from overlayfs_py.errors import OverlayError

# Of the upper: its root, the workdir and the stage in it, and one that passes.
_OF_UPPER = 4
# The driver's: the device, trio's (4), idle polling, the announcement (2): 10. Four copy-ups with
# two each, eight fsyncs, two long listings with one a layer that is being read: 18. A request:
# a walk (2), a scan, a staged file, a directory, and modules that load: 8. A dozen more: guess.
_PASSING = 48
# Both caches at their least, see `DescriptorCache`.
_LEAST_CACHED = 32
# Beyond that, more descriptors only hold more of the kernel's memory. Limits of a million and
# more are common (containers of docker).
_MOST_CACHED = 16_384


class TooManyLayers(OverlayError):
    """The limit of open files leaves no room for so many layers."""

    def __init__(self, roots: int, needed: int, limit: int) -> None:
        super().__init__(
            errno.EMFILE,
            f"{roots} layers and volumes take {needed} open files, and the limit is {limit}"
            " (ulimit -n)",
        )


def require_room(roots: int, *, writable: bool) -> None:
    """Refuse `roots` layers and volumes that the limit of open files leaves no room for."""
    needed = count_open() + roots + (_OF_UPPER if writable else 0) + _PASSING + _LEAST_CACHED
    limit = _limit()
    if needed > limit:
        raise TooManyLayers(roots, needed, limit)


def cached_each() -> int:
    """How many descriptors each of two caches may hold beside what is open now."""
    free = _limit() - count_open() - _PASSING
    return min(max(free // 2, _LEAST_CACHED), _MOST_CACHED) // 2


def left_for_removed() -> int:
    """How many descriptors deleted objects that are in use may hold beside the caches."""
    free = _limit() - count_open() - _PASSING
    return min(max(free - 2 * cached_each(), 0), _MOST_CACHED) // 2


def count_open() -> int:
    """How many descriptors this process has; a guess where /proc is not there to tell."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # the listing's own
    except FileNotFoundError:
        return 16


def _limit() -> int:
    limit = os.sysconf("SC_OPEN_MAX")
    return 1 << 30 if limit < 0 else limit  # -1: there is none
