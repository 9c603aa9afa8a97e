"""Files by a descriptor: whatever name leads to them, or none."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostFile, HostObject
from overlayfs_py.layers.host_opening import open_again
from overlayfs_py.layers.xattrs import get_xattr_of, list_xattrs_of
from overlayfs_py.syscalls import xattrs

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostTree


class ByDescriptor(HostObject):
    """What is reached by a descriptor of its own, O_PATH being enough; no name plays a part."""

    __slots__ = ()

    def descriptor(self) -> int:
        """The descriptor, not owned by the caller: use it at once."""
        raise NotImplementedError

    def path(self) -> bytes:
        return b"/proc/self/fd/%d" % self.descriptor()

    def reach(self) -> tuple[bytes | int, int | None, bool]:
        # The link in /proc leads to the object itself, and no further if that is a link.
        return self.path(), None, True

    def status(self) -> os.stat_result:
        return os.fstat(self.descriptor())

    def list_xattrs(self) -> list[bytes]:
        return list_xattrs_of(self.path())

    def lacks_xattr(self, name: bytes) -> bool:
        return False  # no call takes a descriptor of O_PATH

    def get_xattr(self, name: bytes) -> bytes:
        return get_xattr_of(self.path(), name, as_owner=not self.tree.plain)

    def read_link(self) -> bytes:
        return os.readlink(b"", dir_fd=self.descriptor())


class HeldFile(ByDescriptor, HostFile):
    """A file that has lost the name it was known by; lives as long as its descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, tree: HostTree, fd: int) -> None:
        """Take over `fd`, any descriptor of the file (O_PATH is enough)."""
        self.tree = tree
        self.parent = None
        self.name = b""
        self._fd = fd

    def descriptor(self) -> int:
        return self._fd

    def place(self) -> tuple[int, bytes]:
        raise FileNotFoundError(errno.ENOENT, "a removed file has no name")

    def open_inode(self, flags: int) -> int:
        flags |= os.O_CLOEXEC | os.O_NONBLOCK
        tree = self.tree
        return open_again(self._fd, flags, as_owner=not tree.plain, noatime=tree.noatime)

    def close(self) -> None:
        """Give the descriptor back; the file is gone where it was the last."""
        os.close(self._fd)


class OpenFile(HeldFile):
    """A file by a descriptor that is open for its data: the host need not look for its inode."""

    __slots__ = ()

    @property
    def fd(self) -> int:
        """The descriptor, still the file's own."""
        return self._fd

    def status(self) -> os.stat_result:
        return os.fstat(self._fd)

    def reach(self) -> tuple[bytes | int, int | None, bool]:
        return self._fd, None, True

    def reach_xattrs(self) -> tuple[bytes | int, bool]:
        return self._fd, True

    def list_xattrs(self) -> list[bytes]:
        return list_xattrs_of(self._fd)

    def lacks_xattr(self, name: bytes) -> bool:
        return xattrs.is_absent_from(self._fd, name)

    def get_xattr(self, name: bytes) -> bytes:
        return get_xattr_of(self._fd, name, as_owner=not self.tree.plain)
