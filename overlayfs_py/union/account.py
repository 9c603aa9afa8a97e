"""What an upper and its workdir take on their filesystem, inode by inode, against a limit.

The blocks of each inode are those that stat(2) tells, as du(1) counts them; what was counted for an
inode before is remembered, so that looking at it again corrects whatever has changed meanwhile.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers import scanning
from overlayfs_py.layers.host import HostDirectory

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCK_BYTES = 512  # of st_blocks


class Account:
    """Counts blocks; nothing is refused here but by `require`."""

    def __init__(self, limit_bytes: int) -> None:
        """Begin with nothing."""
        self.limit_bytes = limit_bytes
        self._blocks: dict[int, int] = {}  # by inode, of all that is known, without any among it
        self._used = 0
        self._reserved_bytes = 0

    @property
    def used_bytes(self) -> int:
        """What is taken."""
        return self._used * BLOCK_BYTES

    @property
    def left_bytes(self) -> int:
        """What may still be taken; below 0 where there is more than the limit allows."""
        return self.limit_bytes - self._used * BLOCK_BYTES - self._reserved_bytes

    def require(self, needed_bytes: int) -> None:
        """Refuse what does not fit; what takes nothing always does.

        Raises:
            OSError: ENOSPC.
        """
        if needed_bytes and needed_bytes > self.left_bytes:
            raise no_space()

    def reserve(self, wanted_bytes: int) -> None:
        """Set something aside for what is about to be made; negative: give it back."""
        self._reserved_bytes += wanted_bytes

    def knows(self, ino: int) -> bool:
        """Whether an inode has been counted."""
        return ino in self._blocks

    def note(self, status: os.stat_result) -> None:
        """Count an inode as it is now."""
        before = self._blocks.get(status.st_ino, 0)
        self._used += status.st_blocks - before
        self._blocks[status.st_ino] = status.st_blocks

    def forget(self, ino: int) -> None:
        """Count an inode no more, which is gone."""
        self._used -= self._blocks.pop(ino, 0)

    def count(self, directories: Iterable[HostDirectory]) -> None:
        """Count trees, each inode once."""
        pending = list(directories)
        opened = []
        while pending:
            directory = pending.pop()
            opened.append(directory)
            self.note(directory.status())
            with scanning.scan(directory.fd(), directory.name) as listing:
                for entry in listing:
                    if entry.is_dir(follow_symlinks=False):
                        name = os.fsencode(entry.name)
                        pending.append(HostDirectory(directory.tree, directory, name))
                    else:
                        self.note(entry.stat(follow_symlinks=False))
        # Not before: the way down to a directory begins at the nearest that is open.
        for directory in opened:
            directory.tree.descriptors.drop(directory)


def no_space() -> OSError:
    """What a full disk says."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
