"""Removing what is on the stage, whatever its depth and its modes."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

_STEP = 256  # names: 1 to 2 ms
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def remove_tree(dir_fd: int, name: bytes) -> None:
    """Remove `name` below a directory, and all that is below it."""
    for _ in removing_tree(dir_fd, name):
        pass


def removing_tree(dir_fd: int, name: bytes) -> Generator[None, None, None]:
    """Do that in steps.

    Subdirectories are moved up beside `name` before they are emptied, so the depth of the tree
    costs neither recursion nor descriptors nor long paths. Never follows a link.
    """
    pending = [name]
    spare_names = (b"%s~%x" % (name[:200], number) for number in itertools.count())
    while pending:
        victim = pending.pop()
        if not _unlinked(dir_fd, victim):
            fd = _open_to_empty(dir_fd, victim)
            try:
                for found in _emptying(fd, dir_fd, spare_names):
                    pending += found
                    yield
            finally:
                os.close(fd)
            os.rmdir(victim, dir_fd=dir_fd)


def _unlinked(dir_fd: int, name: bytes) -> bool:
    try:
        os.unlink(name, dir_fd=dir_fd)
    except IsADirectoryError:
        return False
    return True


def _open_to_empty(dir_fd: int, name: bytes) -> int:
    try:
        return os.open(name, _OPEN, dir_fd=dir_fd)
    except PermissionError:
        # Its owner may have taken its own permissions away; who owns it may give them back.
        os.chmod(b"/proc/self/fd/%d/%s" % (dir_fd, name), 0o700)
        return os.open(name, _OPEN, dir_fd=dir_fd)


def _emptying(fd: int, outside_fd: int, spare_names: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Remove a directory's files and move its subdirectories outside; yields their new names."""
    # What is taken away while it is listed may let other names be missed: until none is left.
    while children := _some_of(fd):
        yield [
            _move_out(fd, child, outside_fd, spare_names)
            for child in children
            if not _unlinked(fd, child)
        ]


def _some_of(fd: int) -> list[bytes]:
    with os.scandir(fd) as listing:
        return [os.fsencode(entry.name) for entry in itertools.islice(listing, _STEP)]


def _move_out(fd: int, child: bytes, outside_fd: int, spare_names: Iterator[bytes]) -> bytes:
    """Move a directory to a name that is free: one who was killed here left some that are not."""
    for outside in spare_names:
        try:
            os.stat(outside, dir_fd=outside_fd, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(child, outside, src_dir_fd=fd, dst_dir_fd=outside_fd)
            return outside
    raise AssertionError("names never end")
