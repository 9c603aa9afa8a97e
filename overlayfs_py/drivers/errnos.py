"""What the kernel hears when a request fails: the only place that knows.

| Raised                     | errno to the kernel                | Whose fault     |
|----------------------------|------------------------------------|-----------------|
| OSError                    | its own; EIO if it has none        | host or caller  |
| OSError with ENOSYS        | EOPNOTSUPP                         | host            |
| any other Exception        | EIO, logged once with its traceback| ours            |
"""

from __future__ import annotations

import errno
import logging
import os

from overlayfs_py.errors import CorruptLayer, NotArrived

log = logging.getLogger(__name__)

# From 512 on they are the kernel's own; an answer with one is no answer to it (fs/fuse/dev.c,
# fuse_dev_do_write), yet some filesystems let ENOTSUPP out.
_LARGEST_ERRNO = 511


def errno_of(error: Exception) -> int:
    """Return the error number that answers a request which raised `error`."""
    if not isinstance(error, OSError):
        return errno.EIO
    number = error.errno
    if number is None or not 0 < number <= _LARGEST_ERRNO:
        return errno.EIO
    # The kernel takes ENOSYS as "never ask again" for most requests, for the whole mount.
    return errno.EOPNOTSUPP if number == errno.ENOSYS else number


_MOST_DAMAGES = 100


class BugLog:
    """Logs an exception that is no OSError, with its traceback, the first time it comes by.

    Damage of a layer, too: of an EIO its caller learns neither layer nor chunk. The mount lives
    on, and a program that tries again ten thousand times fills no disk.
    """

    def __init__(self) -> None:
        self._seen: set[tuple[type[Exception], str, int]] = set()
        self._damages: set[str] = set()

    def note(self, error: Exception, request: str) -> None:
        """Log what `request` raised, unless its caller is told all there is to say."""
        if isinstance(error, CorruptLayer):
            self._note_damage(error)
        elif isinstance(error, NotArrived):  # each has waited, so they are few
            log.error("%s", error)
        if isinstance(error, OSError):
            return
        place = _place_of(error)
        if place not in self._seen:
            self._seen.add(place)
            log.error("bug in %s, answered with EIO", request, exc_info=error)

    def _note_damage(self, damage: CorruptLayer) -> None:
        words = f"{os.fsdecode(damage.filename)}: {damage.strerror}"
        if words not in self._damages and len(self._damages) < _MOST_DAMAGES:
            self._damages.add(words)
            log.error("%s", words)


def _place_of(error: Exception) -> tuple[type[Exception], str, int]:
    innermost = error.__traceback__
    while innermost is not None and innermost.tb_next is not None:
        innermost = innermost.tb_next
    if innermost is None:
        return type(error), "", 0
    return type(error), innermost.tb_frame.f_code.co_filename, innermost.tb_lineno
