"""A directory that is gone when its users are, even if they are killed.

A process of its own makes it, waits until the last of its users has ended, and removes it. That is
the only way it is ever removed, so the way is tried at every ordinary end too.
"""

from __future__ import annotations

import os
import signal
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from overlayfs_py.mounts import children
from overlayfs_py.union.remove_tree import remove_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.mounts.children import Report

_PREFIX = b"overlayfs-py-"
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def scratch_directory(base: bytes) -> Iterator[bytes]:
    """Give a new empty directory below `base`; nothing of it is left afterwards.

    Every process that is forked inside uses it until it ends or calls exec.

    Raises:
        Failure: the directory cannot be made.
    """
    # Who holds the write end is a user. Nothing is ever written.
    watch_fd, users_fd = os.pipe()

    def keep(report: Report) -> None:
        os.close(users_fd)
        _keep(report, base, watch_fd)

    keeper = children.start(keep)
    os.close(watch_fd)
    try:
        yield keeper.ready()
    finally:
        os.close(users_fd)
        keeper.wait()


def _keep(report: Report, base: bytes, watch_fd: int) -> None:
    os.setsid()  # out of reach of ^C, and of what ends a whole process group
    # A caller that reads our output to its end must not wait for this process.
    children.take_null_stdio(keep_stderr=True)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    directory = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
    report.ready(directory)
    os.read(watch_fd, 1)
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
