"""A directory that is gone when its users are, even if they are killed.

A process of its own makes it, waits until the last of its users has ended, and removes it. That is
the only way it is ever removed, so the way is tried at every ordinary end too.
"""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.mounts import children
from overlayfs_py.union.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.mounts.children import Report

_PREFIX = b"overlayfs-py-"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Farewell(Protocol):
    """What is done at the end besides."""

    @property
    def needed_fds(self) -> frozenset[int]:
        """The descriptors that it needs until then."""

    def __call__(self) -> None:
        """Do it."""


@contextmanager
def scratch_directory(base: bytes, farewell: Farewell | None = None) -> Iterator[bytes]:
    """Give a new empty directory below `base`; nothing of it is left afterwards.

    Every process that is forked inside uses it until it ends or calls exec. Then `farewell` is
    done, too, even if they were killed.

    Raises:
        Failure: the directory cannot be made.
    """
    # Who holds the write end is a user. Nothing is ever written.
    watch_fd, users_fd = os.pipe()

    def keep(report: Report) -> None:
        os.close(users_fd)
        _keep(report, base, watch_fd, farewell)

    keeper = children.start(keep)
    os.close(watch_fd)
    try:
        yield keeper.ready()
    finally:
        os.close(users_fd)
        keeper.wait()


def _keep(report: Report, base: bytes, watch_fd: int, farewell: Farewell | None) -> None:
    os.setsid()  # out of reach of ^C, and of what ends a whole process group
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    directory = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
    # A caller may wait for the end of a pipe, or for a lock, that this process has open.
    children.take_null_stdio()
    assert report.fd is not None
    children.close_all_but(report.fd, watch_fd, *(() if farewell is None else farewell.needed_fds))
    report.ready(directory)
    os.read(watch_fd, 1)
    if farewell is not None:
        farewell()
    remove(directory)


def remove(directory: bytes) -> None:
    """Remove a directory of any depth and any modes."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(fd):
            remove_tree(fd, os.fsencode(name))
    finally:
        os.close(fd)
    os.rmdir(directory)
