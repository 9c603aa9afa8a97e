"""What has lost its last name and is still referred to.

While there is little of it a descriptor keeps it, which costs nobody anything. A process may keep
any number of deleted files, though, and the descriptors are for all: beyond a part of them a file
or directory keeps a name on the stage, as NFS clients rename what is deleted. Either way its inode
stays, so that nothing else gets the number that it is known by.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.held import HeldFile
from overlayfs_py.layers.host import HostFile

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostDirectory, HostTree
    from overlayfs_py.union.upper import Upper

_NOWHERE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
# No links there, no more to this file, or not for us (/proc/sys/fs/protected_hardlinks).
_NO_LINK = (errno.EOPNOTSUPP, errno.EMLINK, errno.EPERM)


class Nameless:
    """The descriptors of removed files and directories, which may be only so many."""

    def __init__(self) -> None:
        """Allow none until it is known how many there is room for."""
        self.most = 0
        self._files = 0
        self._directories: set[HostDirectory] = set()

    @property
    def is_full(self) -> bool:
        """Whether what is removed next has to be kept without a descriptor."""
        return self._files + len(self._directories) >= self.most

    def hold(self, tree: HostTree, fd: int) -> DescriptorOfRemoved:
        """Keep a file by `fd`, which is taken over."""
        self._files += 1
        return DescriptorOfRemoved(self, tree, fd)

    def keep_new(self, upper: Upper | None, tree: HostTree, fd: int) -> Removed:
        """Keep a file that has no name yet by `fd`, which is taken over."""
        if not self.is_full:
            return self.hold(tree, fd)
        try:
            if upper is None:
                raise OSError(errno.ENFILE, "too many files without a name are in use")
            staged = upper.new_name()
            upper.link_nameless(fd, upper.stage, staged)
        finally:
            os.close(fd)
        return ParkedFile(upper, staged, may_be_linked=True)

    def forget_file(self) -> None:
        """Count a descriptor less."""
        self._files -= 1

    def hold_directory(self, directory: HostDirectory) -> None:
        """Keep a directory that is about to lose its name by a descriptor."""
        directory.hold()
        self._directories.add(directory)

    def let_go_directory(self, directory: HostDirectory) -> None:
        """Close the descriptor that keeps a directory, if one does."""
        self._directories.discard(directory)
        directory.let_go()


class DescriptorOfRemoved(HeldFile):
    """A removed file, by a descriptor that is counted."""

    __slots__ = ("_counted_by",)

    def __init__(self, counted_by: Nameless, tree: HostTree, fd: int) -> None:
        super().__init__(tree, fd)
        self._counted_by = counted_by

    @property
    def is_gone(self) -> bool:
        """Whether no name on the disk leads to it."""
        return self.status().st_nlink == 0

    def close(self) -> None:
        super().close()
        self._counted_by.forget_file()


class ParkedFile(HostFile):
    """A removed file, by a name on the stage, which is one link more than it shows."""

    __slots__ = ("_upper", "may_be_linked")

    def __init__(self, upper: Upper, staged: bytes, *, may_be_linked: bool = False) -> None:
        """Take over what lies under `staged`; only what never had a name may be given one."""
        super().__init__(upper.stage, staged)
        self._upper = upper
        self.may_be_linked = may_be_linked

    @property
    def is_gone(self) -> bool:
        """Whether no name outside the stage leads to it."""
        return self.status().st_nlink == 1

    def move(self, upper: Upper, staged: bytes) -> None:
        """Take note that it lies on another stage now."""
        self._upper, self.parent, self.tree, self.name = upper, upper.stage, upper.tree, staged

    def close(self) -> None:
        """Take the name away; the file is gone where it was the last."""
        self._upper.discard(self.name)


Removed = DescriptorOfRemoved | ParkedFile


def keep_file(
    nameless: Nameless, upper: Upper | None, directory: HostDirectory, name: bytes
) -> Removed:
    """Return what keeps the file under `name`, which is about to lose it.

    Raises:
        OSError: ENFILE for one of a volume, which has no stage, where there are too many.
    """
    if nameless.is_full:
        upper = require_stage(upper, directory, name)
        parked = _park(upper, directory, name)
        if parked is not None:
            return parked
    return nameless.hold(directory.tree, os.open(name, _NOWHERE, dir_fd=directory.fd()))


def require_stage(upper: Upper | None, directory: HostDirectory, name: bytes) -> Upper:
    """Return the upper, on whose stage what is deleted may lie; ENFILE for what is a volume's."""
    if upper is None or directory.tree.plain:
        raise OSError(errno.ENFILE, "too many deleted files of volumes are in use", name)
    return upper


def _park(upper: Upper, directory: HostDirectory, name: bytes) -> ParkedFile | None:
    """Link a file to the stage: its own name goes, or is taken over, in one step of its own."""
    staged, stage_fd = upper.new_name(), upper.stage.fd()
    try:
        os.link(name, staged, src_dir_fd=directory.fd(), dst_dir_fd=stage_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        return None
    return ParkedFile(upper, staged)
