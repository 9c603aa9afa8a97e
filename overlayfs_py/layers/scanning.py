"""Listing a host directory: all at once, or in steps between which others list it as well."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# Of what stat(2) gives as the size of a directory, for each name: 16 to 32 on ext4, xfs, tmpfs and
# btrfs (ZFS counts names, and would stop the others for longer).
_BYTES_OF_NAME = 32
_SMALLEST_BYTES = 4096  # on ext4 the size of an empty one, too


def length(fd: int) -> int:
    """About how many names a directory has, at most twice as many; 0 for few."""
    size = os.fstat(fd).st_size
    return size // _BYTES_OF_NAME if size > _SMALLEST_BYTES else 0


@contextmanager
def scan(fd: int, name: bytes, *, apart: bool = False) -> Iterator[Iterator[os.DirEntry[str]]]:
    """List the directory that is open as `fd`; `name` is its name in errors.

    A scan that others may come between must be `apart`: all who list by one descriptor share its
    position.
    """
    own_fd = None
    try:
        if apart:
            own_fd = os.open(b".", _OPEN, dir_fd=fd)
        with os.scandir(fd if own_fd is None else own_fd) as listing:
            yield listing
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        # The descriptor is one that cannot list: see `open_directory`.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name) from None
    finally:
        if own_fd is not None:
            os.close(own_fd)
