"""A host directory that others change, too: its objects are inodes, and never mere names.

Between a look at a name and its use somebody else may have put another object there, root's among
them. So each object is reached by an O_PATH descriptor of its own. There are only so many of these:
one that was closed meanwhile is opened by its name again, and is that of the same inode or of none.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.held import ByDescriptor
from overlayfs_py.layers.host import HostDirectory, HostTree
from overlayfs_py.layers.host_opening import open_file
from overlayfs_py.layers.numbering import FOREIGN_INOS, VolumeFilesystem
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import files, handles, xattrs

if TYPE_CHECKING:
    from overlayfs_py.layers.descriptors import DescriptorCache
    from overlayfs_py.layers.ids import IdMap

_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LISTING = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Identity(NamedTuple):
    """What an inode is: filesystems give the numbers of removed ones to new ones."""

    device: int
    ino: int
    handle: bytes | None  # None: nothing tells it from a later one of its number

    def is_surely(self, other: Identity) -> bool:
        """Whether both are one inode, though it was not kept open meanwhile."""
        return self.handle is not None and self == other


def identity_of(fd: int) -> Identity:
    """Return what is open as `fd`."""
    status = os.fstat(fd)
    return Identity(status.st_dev, status.st_ino, handles.handle_of(fd) or _birth_of(fd))


def _birth_of(fd: int) -> bytes | None:
    """The second best: two inodes of one number were hardly made within a tick of the clock."""
    born_ns = files.birth_time_ns(b"/proc/self/fd/%d" % fd, follow=True)
    return None if born_ns is None else b"%d" % born_ns


def open_object(directory_fd: int, name: bytes) -> int:
    """Open what has a name, be it a symbolic link, for no more than to say which it is."""
    return os.open(name, _PATH, dir_fd=directory_fd)


def _open_listing(fd: int, noatime: int) -> int:
    """Open a directory once more, to be listed if the host lets us."""
    try:
        return open_file(fd, b".", _LISTING, as_owner=False, noatime=noatime)
    except PermissionError:
        return os.dup(fd)


def reopen_object(directory_fd: int, name: bytes, identity: Identity) -> int:
    """Open what has a name if it is still the same; ESTALE if it is not."""
    try:
        fd = open_object(directory_fd, name)
    except OSError as error:
        if error.errno in _GONE:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name) from error
        raise
    require_identity(fd, name, identity)
    return fd


def require_identity(fd: int, name: bytes, identity: Identity) -> None:
    """Close `fd` and raise ESTALE unless it is what it is to be."""
    if not identity.is_surely(identity_of(fd)):
        os.close(fd)
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)


class VolumeTree(HostTree):
    """A volume."""

    def __init__(
        self,
        index: int,
        root_fd: int,
        ids: IdMap,
        descriptors: DescriptorCache[int],
        *,
        read_only: bool,
        keeps_atime: bool,
    ) -> None:
        """Take over `root_fd`; `index` is the mount's slot for its numbers."""
        super().__init__(
            VolumeFilesystem(index),
            root_fd,
            ids,
            descriptors,
            read_only=read_only,
            plain=True,
            keeps_atime=keeps_atime,
        )
        self.root = VolumeDirectory(self, None, b"", identity_of(root_fd))
        # Objects whose numbers were those of others that are still in use, by what they are.
        self._renumbered: dict[Identity, int] = {}
        self._renumberings = 0

    def number_instead(self, identity: Identity) -> int | None:
        """The number of an object whose own one was still another's when it was first seen."""
        return self._renumbered.get(identity)

    def renumber(self, identity: Identity) -> int:
        """Give an object another number than its own, which is still another's."""
        self._renumberings += 1
        number = FOREIGN_INOS | self._base | _RENUMBERED | self._renumberings
        if identity.handle is not None:
            self._renumbered[identity] = number
        return number

    def forget_number(self, identity: Identity) -> None:
        """Nobody uses an object any more."""
        self._renumbered.pop(identity, None)


_RENUMBERED = 1 << 40  # out of the way of FOREIGN_INOS that are counted


class VolumeDirectory(ByDescriptor, HostDirectory):
    """A directory of a volume."""

    __slots__ = ("identity",)

    def __init__(
        self, tree: HostTree, parent: HostDirectory | None, name: bytes, identity: Identity
    ) -> None:
        super().__init__(tree, parent, name)
        self.identity = identity

    def descriptor(self) -> int:
        return self.fd()

    def place(self) -> tuple[int, bytes]:
        return self.fd(), b"."

    def lacks_xattr(self, name: bytes) -> bool:
        return xattrs.is_absent(*self.place(), name)

    def list_xattrs(self) -> list[bytes]:
        return ByDescriptor.list_xattrs(self)

    def keep_open(self, fd: int) -> None:
        """Take over a descriptor of it, which need not list."""
        if not self.is_open:
            self.tree.descriptors.put(self, _open_listing(fd, self.tree.noatime))
        os.close(fd)

    def _open(self) -> int:
        try:
            fd = super()._open()
        except OSError as error:
            if error.errno in _GONE:
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self.name) from error
            raise
        require_identity(fd, self.name, self.identity)
        return fd

    @property
    def is_open(self) -> bool:
        """Whether its inode is kept, and so its number is no other's."""
        return self._known_fd() is not None
