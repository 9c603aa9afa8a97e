"""A file that the daemon of a mount holds as long as it serves, so that others can see it does."""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def held(path: bytes | None) -> Iterator[None]:
    """Hold a file with flock(2), shared, in this process and in all that it forks inside.

    Raises:
        OSError: it is not there, or went while it was taken.
    """
    if path is None:
        yield
        return
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        if not _names(path, fd):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        yield
    finally:
        os.close(fd)


def _names(path: bytes, fd: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
