"""Following a path as inside a root: symbolic links lead nowhere out of it."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST_LINKS = 40  # as many as the kernel follows, include/linux/namei.h, MAXSYMLINKS

_Place = TypeVar("_Place")


def follow(
    root: _Place,
    path: Sequence[bytes],
    child: Callable[[_Place, bytes], _Place],
    target: Callable[[_Place], bytes | None],
    *,
    follow_last: bool,
) -> list[_Place]:
    """Return the places from `root` down to what is at `path`, both included.

    An absolute link starts at `root` again, and `..` stays at it. The links of the whole way count
    together, so that a few that lead through one another many times come to an end.

    Args:
        root: where the path starts.
        path: components; empty ones and `.` mean nothing.
        child: gives what has a name in a place, and raises what the walk shall raise where
            nothing has.
        target: gives a symbolic link's target, None for everything else.
        follow_last: whether a link at the very end is followed, too.

    Raises:
        OSError: ELOOP, with the path; and what `child` and `target` raise.
    """
    way = [root]
    pending = list(reversed(path))
    links = 0
    while pending:
        name = pending.pop()
        if name in (b"", b"."):
            continue
        if name == b"..":
            way = way[:-1] or way
            continue
        found = child(way[-1], name)
        leads_to = target(found) if pending or follow_last else None
        if leads_to is None:
            way.append(found)
            continue
        links += 1
        if links > MOST_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), b"/" + b"/".join(path))
        if leads_to.startswith(b"/"):
            del way[1:]
        pending += reversed(leads_to.split(b"/"))
    return way
