"""The directory whose `upper` and `work` outlive a container: nobody else's business."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress

from overlayfs_py.mounts.uppers import make_upper
from overlayfs_py.named_tuple import NamedTuple

_OPEN_TO_OTHERS = 0o077
_OURS = frozenset({"upper", "work"})


class UpperPlace(NamedTuple):
    """Where the changes of a container go."""

    upper: bytes
    work: bytes


def lay_out(home: bytes, like: bytes) -> UpperPlace:
    """Make `upper`, its root as a layer's, and `work` in `home`, which is made where it lacks.

    In the upper lie files that the image keeps from others by its root's mode, and programs that
    run as root: `home` is closed, as docker and podman keep theirs.

    Raises:
        OSError: `home` is a link, another user's, or open to others and full of other files.
    """
    home = home.rstrip(b"/") or b"/"
    with suppress(FileExistsError):
        os.mkdir(home, 0o700)
    _close_to_others(home)
    place = UpperPlace(os.path.join(home, b"upper"), os.path.join(home, b"work"))
    make_upper(place.upper, like=like)
    with suppress(FileExistsError):
        os.mkdir(place.work)
    for path in place:
        _require_directory(path)
    return place


def _close_to_others(home: bytes) -> None:
    fd = _open(home)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise OSError(errno.EPERM, "belongs to another user", home)
        if not status.st_mode & _OPEN_TO_OTHERS:
            return
        if not _OURS.issuperset(os.listdir(fd)):
            raise OSError(errno.EPERM, "open to others (chmod 700 closes it)", home)
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~_OPEN_TO_OTHERS)
    finally:
        os.close(fd)


def _require_directory(path: bytes) -> None:
    os.close(_open(path))


def _open(path: bytes) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        if os.path.islink(path):
            raise OSError(errno.ELOOP, "a symbolic link", path) from None
        raise
