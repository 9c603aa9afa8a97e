"""What is made ready for the upper, until it is put in place: a file without a name, or a name.

A file that no name shows needs no removal, whatever goes wrong, and its fsync(2) brings neither
a name nor a directory to the disk: on ext4 without a journal 0.24 ms instead of 0.36 (measured;
fs/ext4/fsync.c, ext4_sync_parent). Kernel overlayfs does the same (ovl_copy_up_tmpfile).
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.held import OpenFile
from overlayfs_py.layers.host import HostFile
from overlayfs_py.union.nameless import ParkedFile

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostDirectory, HostObject
    from overlayfs_py.union.nameless import Nameless, Removed
    from overlayfs_py.union.upper import Upper

_OPEN = os.O_RDWR | os.O_CLOEXEC
_CREATE = _OPEN | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
_MODE = 0o600
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL)


class StagedName:
    """Anything under a name on the stage."""

    def __init__(self, upper: Upper, name: bytes) -> None:
        """Take over what lies under `name`."""
        self._upper = upper
        self._name = name

    @property
    def item(self) -> HostObject:
        """The object, to be changed."""
        return HostFile(self._upper.stage, self._name)

    def place_unseen(self, directory: HostDirectory, name: bytes) -> None:
        """Put it in place; the directory keeps its times."""
        self._upper.place_unseen(self._name, directory, name)

    def hold(self, nameless: Nameless) -> Removed:
        """Let it go on without a name, and without the right to get one: link(2) is refused."""
        if nameless.is_full:
            return ParkedFile(self._upper, self._name)
        flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._name, flags, dir_fd=self._upper.stage.fd())
        self._upper.discard(self._name)
        return nameless.hold(self._upper.tree, fd)

    def discard(self) -> None:
        """Remove it."""
        self._upper.discard(self._name)


class StagedFile:
    """A regular file and its descriptor, for reading and writing, which it owns."""

    def __init__(self, upper: Upper) -> None:
        """Make an empty file, nobody else's to open."""
        self._upper = upper
        self._name: bytes | None = None
        self.fd = self._open()
        self.item = OpenFile(upper.tree, self.fd)

    def _open(self) -> int:
        upper = self._upper
        stage_fd, noatime = upper.stage.fd(), upper.tree.noatime
        if upper.makes_nameless:
            try:
                return os.open(b".", os.O_TMPFILE | _OPEN | noatime, _MODE, dir_fd=stage_fd)
            except OSError as error:
                if error.errno not in _NO_NAMELESS:
                    raise
                upper.makes_nameless = False
        self._name = upper.new_name()
        return os.open(self._name, _CREATE | noatime, _MODE, dir_fd=stage_fd)

    def name_on_stage(self) -> bytes:
        """Give it a name on the stage, the caller's from now on, unless it has one."""
        if self._name is None:
            name = self._upper.new_name()
            self._upper.link_nameless(self.fd, self._upper.stage, name)
        else:
            name, self._name = self._name, None
        return name

    def place_unseen(self, directory: HostDirectory, name: bytes) -> None:
        """Put it in place; the directory keeps its times."""
        if self._name is None:
            try:
                self._upper.link_nameless_unseen(self.fd, directory, name)
            except FileExistsError:
                self._name = self.name_on_stage()  # a whiteout, which only a rename replaces
            else:
                return
        self._upper.place_unseen(self._name, directory, name)
        self._name = None

    def hold(self, nameless: Nameless) -> Removed:
        """Let it go on as one that has lost its names."""
        self._name = self.name_on_stage()
        held = StagedName(self._upper, self._name).hold(nameless)
        self._name = None
        return held

    def take_fd(self) -> int:
        """Return the descriptor, the caller's from now on."""
        fd, self.fd = self.fd, -1
        return fd

    def discard(self) -> None:
        """Close it; it is gone unless it was put in place."""
        if self._name is not None:
            self._upper.discard(self._name)
            self._name = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
