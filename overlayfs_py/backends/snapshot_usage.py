"""What a directory takes on the disk, as du(1) counts: by blocks, each inode once."""

from __future__ import annotations

import os
from contextlib import suppress

from overlayfs_py.backends.snapshot_records import Usage

_BLOCK_BYTES = 512  # of st_blocks
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW


def disk_usage(root: bytes) -> Usage:
    """Count a directory and all that is below it.

    What is deleted meanwhile is not counted: an upper may be in use.
    """
    counting = _Counting()
    counting.add(os.stat(root, follow_symlinks=False))
    # A descriptor for each directory on the way down, and no path, which might grow too long.
    way = [(os.open(root, _OPEN), [b"."])]
    try:
        while way:
            fd, names = way[-1]
            if not names:
                os.close(way.pop()[0])
                continue
            with suppress(FileNotFoundError):
                below = os.open(names.pop(), _OPEN, dir_fd=fd)
                way.append((below, []))
                counting.add_names_in(*way[-1])
    finally:
        for fd, _ in way:
            os.close(fd)
    return Usage(counting.size, len(counting.seen))


class _Counting:
    def __init__(self) -> None:
        self.size = 0
        self.seen: set[tuple[int, int]] = set()

    def add(self, status: os.stat_result) -> None:
        inode = (status.st_dev, status.st_ino)
        if inode not in self.seen:
            self.seen.add(inode)
            self.size += status.st_blocks * _BLOCK_BYTES

    def add_names_in(self, fd: int, directories: list[bytes]) -> None:
        """Count what a directory has; its subdirectories are added to `directories`."""
        with os.scandir(fd) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    self.add(entry.stat(follow_symlinks=False))
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(os.fsencode(entry.name))
