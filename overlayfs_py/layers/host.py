"""A tree of host directories: a directory layer, an upper, a volume.

No path strings: every object is one component below a directory descriptor, and no symbolic link
is followed, so a renamed parent cannot confuse it and no link can lead out of the tree.
`/proc/self/fd/N/NAME` stands in where a call has no `*at` form; its last component is the only
one that a tree's owner chose.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.layers import host_listing, scanning
from overlayfs_py.layers import marks as mark_forms
from overlayfs_py.layers.host_opening import open_directory, open_file
from overlayfs_py.layers.origin import NUMBER_ALONE, OriginHandle, of_number
from overlayfs_py.layers.override_stat import parse_override
from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.layers.values import (
    INO_BITS,
    Absence,
    Attributes,
    Entry,
    Finding,
    Marks,
)
from overlayfs_py.layers.xattrs import find_xattr, get_xattr_of, lacks_data, list_xattrs_of
from overlayfs_py.syscalls import files, xattrs
from overlayfs_py.syscalls.handles import file_handle_of, links_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.layers.descriptors import DescriptorCache
    from overlayfs_py.layers.ids import IdMap
    from overlayfs_py.layers.marks import MarkNames
    from overlayfs_py.layers.numbering import Filesystem

# Names among which those of whiteout files are looked for, once and for all: 1 ms (guess). Among
# more, each is asked for: many layers may have to be.
_LOOKED_THROUGH = 512
_OPEN_FILE = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class HostTree:
    """One host directory and all below it."""

    def __init__(
        self,
        filesystem: Filesystem,
        root_fd: int,
        ids: IdMap,
        descriptors: DescriptorCache[int],
        *,
        override: bytes | None = None,
        read_only: bool = True,
        plain: bool = False,
        keeps_atime: bool = True,
    ) -> None:
        """Take over `root_fd`.

        `filesystem` numbers the inodes; `override` is the xattr that holds owner and mode
        instead of the inode; in a `plain` tree nothing means a deletion. Unless it `keeps_atime`
        the host moves access times of what is read, as the tree's mount says.
        """
        self.filesystem = filesystem
        self.ids = ids
        self._maps_ids = not ids.changes_nothing
        self.override = override
        self.read_only = read_only
        self.plain = plain
        self.noatime = os.O_NOATIME if keeps_atime else 0  # for open(2)
        self.mark_names: MarkNames = mark_forms.TRUSTED_MARKS
        self.descriptors = descriptors
        # Whether another user may change it: then what is opened has to be what was seen.
        self.is_others = False
        self._root_fd = root_fd
        status = os.fstat(root_fd)
        self._device = status.st_dev
        self._base = filesystem.slot << INO_BITS
        self._root_ino = status.st_ino
        self.root = HostDirectory(self, None, b"")

    def become_layer(self) -> None:
        """Never be written to any more; what is read keeps its access times."""
        self.read_only = True
        self.noatime = os.O_NOATIME

    def close(self) -> None:
        """Close the root; the shared descriptor cache is its owner's to clear."""
        os.close(self._root_fd)

    def root_fd(self) -> int:
        """The root's descriptor, owned by the tree."""
        return self._root_fd

    @property
    def fd(self) -> int:
        """The root's descriptor, as every layer has one."""
        return self._root_fd

    def ino_of(self, status: os.stat_result) -> int:
        """The mount's inode number for an object of this tree."""
        ino, filesystem = status.st_ino, self.filesystem
        if status.st_dev != self._device:
            return filesystem.number_of_foreign(status.st_dev, ino)
        if filesystem.first <= ino < filesystem.end:
            return self._base | ino
        return filesystem.number(ino)

    def numbers(self) -> tuple[int, int, int, int]:
        """What `ino_of` goes by for nearly all: device, first and end of its inodes, a base."""
        return self._device, self.filesystem.first, self.filesystem.end, self._base

    def attributes_of(self, status: os.stat_result, override: bytes | None) -> Attributes:
        """Turn a stat result, and the override xattr's value if there is one, into attributes."""
        mode, uid, gid, rdev = status.st_mode, status.st_uid, status.st_gid, status.st_rdev
        if override is not None and (parsed := parse_override(override, status)):
            uid, gid, mode, rdev = parsed
        if self._maps_ids:
            uid, gid = self.ids.seen_uid(uid), self.ids.seen_gid(gid)
        ino = status.st_ino
        is_usual = (
            status.st_dev == self._device and self.filesystem.first <= ino < self.filesystem.end
        )
        # Half of what Attributes(...) takes, for every name that is looked up.
        return tuple.__new__(
            Attributes,
            (
                self._base | ino if is_usual else self.ino_of(status),
                mode,
                status.st_nlink,
                uid,
                gid,
                rdev,
                status.st_size,
                status.st_blocks,
                status.st_blksize,
                status.st_atime_ns,
                status.st_mtime_ns,
                status.st_ctime_ns,
            ),
        )

    @property
    def index(self) -> int:
        """What is in the numbers of its objects, see `Filesystem`."""
        return self.filesystem.slot

    def origin_of(self, item: HostObject) -> OriginHandle:
        """Return what `item` is for ever."""
        ino, uuid = item.status().st_ino, self.filesystem.uuid
        found = None if uuid is None else file_handle_of(*item.place())
        if found is not None and uuid is not None:
            handle = OriginHandle(uuid, *found)
            if handle.number == ino:
                return handle
        return of_number(NUMBER_ALONE, self._uuid_alone, ino)

    @property
    def _uuid_alone(self) -> bytes:
        """What stands for the filesystem where no handle does: no other tree's of the stack."""
        return b"ovl-py" + struct.pack("<HQ", self.filesystem.slot, self._root_ino)

    def links_behind(self, origin: OriginHandle) -> int | None:
        """Return the link count of what a copy says it is of, None where that cannot be known."""
        if origin.uuid != self.filesystem.uuid:
            return None
        return links_of(self._root_fd, origin.kind, origin.handle)

    def number_behind(self, origin: OriginHandle) -> int | None:
        """Return the mount's number for what a copy says it is of; None if it is not of here."""
        number = origin.number
        is_alone = origin.kind == NUMBER_ALONE and origin.uuid == self._uuid_alone
        if number is None or not (is_alone or origin.uuid == self.filesystem.uuid):
            return None
        return self.filesystem.number(number)


class HostObject:
    """What files and directories of a host tree have in common: a parent and a name."""

    __slots__ = ("name", "parent", "tree")

    tree: HostTree
    parent: HostDirectory | None
    name: bytes

    def place(self) -> tuple[int, bytes]:
        """Return a directory descriptor, not owned by the caller, and the name below it."""
        if self.parent is None:
            return self.tree.root_fd(), b"."
        return self.parent.fd(), self.name

    def path(self) -> bytes:
        """Return a path for calls without an `*at` form; valid while nothing else is opened."""
        return b"/proc/self/fd/%d/%s" % self.place()

    def reach(self) -> tuple[bytes | int, int | None, bool]:
        """Return the arguments `path`, `dir_fd` and `follow_symlinks` that name it to `os`.

        `path` is a descriptor for an object that is open.
        """
        dir_fd, name = self.place()
        return name, dir_fd, False

    def reach_xattrs(self) -> tuple[bytes | int, bool]:
        """Return the arguments `path` and `follow_symlinks` for calls on xattrs."""
        return self.path(), self.reach()[2]

    def status(self) -> os.stat_result:
        """Return the inode's own stat."""
        dir_fd, name = self.place()
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def attributes(self) -> Attributes:
        override = None if self.tree.override is None else self._override()
        return self.tree.attributes_of(self.status(), override)

    def owner_behind(self, ids: IdMap) -> tuple[int, int] | None:
        if self.tree.ids != ids:
            return None
        status = self.status()
        value = self._override()
        known = None if value is None else parse_override(value, status)
        return (known.uid, known.gid) if known else (status.st_uid, status.st_gid)

    def origin(self) -> OriginHandle:
        return self.tree.origin_of(self)

    def list_xattrs(self) -> list[bytes]:
        return list_xattrs_of(self.path(), follow=False)

    def lacks_xattr(self, name: bytes) -> bool:
        return xattrs.is_absent(*self.place(), name)

    def get_xattr(self, name: bytes) -> bytes:
        return get_xattr_of(self.path(), name, follow=False, as_owner=not self.tree.plain)

    def read_link(self) -> bytes:
        dir_fd, name = self.place()
        return os.readlink(name, dir_fd=dir_fd)

    def _override(self) -> bytes | None:
        if self.tree.override is None:
            return None
        return find_xattr(self, self.tree.override)


class HostFile(HostObject):
    """Anything but a directory, by its name."""

    __slots__ = ()

    def __init__(self, parent: HostDirectory, name: bytes) -> None:
        self.tree = parent.tree
        self.parent = parent
        self.name = name

    @property
    def mark_names(self) -> MarkNames:
        return self.tree.mark_names

    def pieces(self) -> int:
        return 1

    def status(self) -> os.stat_result:
        assert self.parent is not None  # but of what is `ByDescriptor`
        return os.stat(self.name, dir_fd=self.parent.fd(), follow_symlinks=False)

    def lacks_xattr(self, name: bytes) -> bool:
        assert self.parent is not None
        return xattrs.is_absent(self.parent.fd(), self.name, name)

    def open(self, flags: int) -> int:
        """Open the file for its data; the caller owns the descriptor.

        Raises:
            PermissionError: its data lies in another layer.
        """
        fd = self.open_inode(flags)
        try:
            is_whole = self.tree.plain or not lacks_data(fd, self.tree.mark_names)
        except OSError:
            os.close(fd)
            raise
        if is_whole:
            return fd
        os.close(fd)
        raise OSError(errno.EPERM, "its data lies in another layer (metacopy)", self.name)

    def open_inode(self, flags: int) -> int:
        """Open the file whether it has data or not; the caller owns the descriptor.

        A layer's access times stay where the caller may see to that: the owner, or root.
        """
        dir_fd, name = self.place()
        tree = self.tree
        flags |= _OPEN_FILE
        return open_file(dir_fd, name, flags, as_owner=not tree.plain, noatime=tree.noatime)

    def open_reader(self) -> DescriptorReader:
        return DescriptorReader(self.open(os.O_RDONLY))

    def list_xattrs(self) -> list[bytes]:
        assert self.parent is not None
        if xattrs.has_none(self.parent.fd(), self.name):
            return []
        return list_xattrs_of(self.path(), follow=False)


class HostDirectory(HostObject):
    """A directory, by its parent's handle and its name there."""

    __slots__ = ("_held", "_ino", "_twins", "_xattr_whiteouts")

    def __init__(self, tree: HostTree, parent: HostDirectory | None, name: bytes) -> None:
        self.tree = tree
        self.parent = parent
        self.name = name
        self._twins: set[bytes] | None = None
        self._xattr_whiteouts: bool | None = None  # None: not looked yet; only layers have them
        self._held: int | None = None
        self._ino = 0  # as the mount numbers it; 0: not known

    def move(self, parent: HostDirectory, name: bytes) -> None:
        """Tell the handle where its directory has been renamed to."""
        self.parent = parent
        self.name = name

    @classmethod
    def opened(cls, tree: HostTree, fd: int) -> HostDirectory:
        """Return a handle that takes over `fd`, of a directory outside the tree's own root."""
        handle = cls(tree, None, b"")
        handle._held = fd
        return handle

    def hold(self) -> None:
        """Keep a descriptor from now on: the directory is about to lose its name."""
        if self._held is None:
            self._held = os.dup(self.fd())

    def let_go(self) -> None:
        """Close what `hold` kept."""
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def place(self) -> tuple[int, bytes]:
        return super().place() if self._held is None else (self._held, b".")

    def status(self) -> os.stat_result:
        # In a plain tree somebody else may have put another directory in its place.
        known = None if self.tree.plain else self._known_fd()
        return super().status() if known is None else os.fstat(known)

    def fd(self) -> int:
        """Return an open descriptor of the directory, owned by the tree's cache: use it at once."""
        if self._held is not None:
            return self._held
        if self.parent is None:
            return self.tree.root_fd()
        known = self.tree.descriptors.find(self)
        if known is None:
            known = self._open()
            self.tree.descriptors.put(self, known)
        return known

    def _open(self) -> int:
        """Walk down from the nearest ancestor that is open: trees may be deeper than PATH_MAX."""
        names: list[bytes] = []
        directory = self
        start: int | None = None
        while start is None:
            names.append(directory.name)
            assert directory.parent is not None
            directory = directory.parent
            start = directory._known_fd()  # noqa: SLF001 - the same class
        tree, as_owner = self.tree, not self.tree.plain
        fd = open_directory(start, names.pop(), tree.noatime, as_owner=as_owner)
        while names:
            below = open_directory(fd, names.pop(), tree.noatime, as_owner=as_owner)
            os.close(fd)
            fd = below
        self._require_itself(fd)
        return fd

    def _require_itself(self, fd: int) -> None:
        if self.tree.is_others and self._ino and self.tree.ino_of(os.fstat(fd)) != self._ino:
            os.close(fd)
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), self.name)

    def _known_fd(self) -> int | None:
        if self._held is not None:
            return self._held
        return self.tree.root_fd() if self.parent is None else self.tree.descriptors.find(self)

    def find(self, name: bytes) -> Finding:
        try:
            status = os.stat(name, dir_fd=self.fd(), follow_symlinks=False)
        except FileNotFoundError:
            return Absence.MISSING
        except OSError as error:
            # Longer than names here can be, it may be one elsewhere: overlayfs, ovl_lookup_single.
            if error.errno != errno.ENAMETOOLONG:
                raise
            return Absence.MISSING
        tree = self.tree
        if not tree.plain and self._is_whiteout(name, status):
            return Absence.WHITEOUT
        if tree.override is None:
            return tree.attributes_of(status, None)
        found = tree.attributes_of(status, find_xattr(HostFile(self, name), tree.override))
        # A device that means a deletion means it in an xattr, too: a copy of it would be one.
        is_deletion = mark_forms.is_whiteout_device(found.mode, found.rdev)
        return Absence.WHITEOUT if is_deletion else found

    def length(self) -> int:
        return scanning.length(self.fd())

    def deletes(self, name: bytes) -> bool:
        if self._twins is not None:
            return name in self._twins
        if self.length() > _LOOKED_THROUGH:
            return files.exists_at(self.fd(), mark_forms.WHITEOUT_PREFIX + name)
        with scanning.scan(self.fd(), self.name) as listing:
            names = (mark_forms.deleted_by(os.fsencode(entry.name)) for entry in listing)
            self._twins = {name for name in names if name is not None}
        return name in self._twins

    def note_twin(self, name: bytes, *, exists: bool) -> None:
        """Take note that the union has made or removed the file `.wh.NAME` here."""
        if self._twins is not None:
            (self._twins.add if exists else self._twins.discard)(name)

    def find_many(
        self, names: Sequence[bytes], *, whole_only: bool = False
    ) -> Sequence[Attributes | None]:
        return host_listing.find_many(self, names, whole_only=whole_only)

    def entries(self, *, apart: bool = False) -> Iterator[Entry]:
        return host_listing.entries(self, apart=apart)

    def hides_types(self) -> bool:
        """Whether a regular file may stand for something else."""
        if self.tree.plain:
            return False
        return self.tree.override is not None or self.holds_xattr_whiteouts()

    def _is_whiteout(self, name: bytes, status: os.stat_result) -> bool:
        if mark_forms.is_whiteout_device(status.st_mode, status.st_rdev):
            return True
        if status.st_size or not stat.S_ISREG(status.st_mode) or not self.holds_xattr_whiteouts():
            return False
        names = HostFile(self, name).list_xattrs()
        return mark_forms.has_whiteout_xattr(names, self.tree.mark_names)

    def holds_xattr_whiteouts(self) -> bool:
        """Whether an empty regular file in it may be a whiteout."""
        if self._xattr_whiteouts is None:
            self._xattr_whiteouts = self._tells_of_xattr_whiteouts(self.list_xattrs())
        return self._xattr_whiteouts

    def _tells_of_xattr_whiteouts(self, names: list[bytes]) -> bool:
        heeded = self.tree.mark_names
        return mark_forms.holds_whiteout_xattrs(names, self.get_xattr, heeded)

    def list_xattrs(self) -> list[bytes]:
        known = None if self.tree.plain else self._known_fd()  # as in `status`
        if known is not None:
            with suppress(OSError):  # a descriptor that cannot list: see `open_directory`
                return [os.fsencode(name) for name in os.listxattr(known)]
        return super().list_xattrs()

    def marks(self, *, with_opaque_file: bool = True) -> Marks:
        if with_opaque_file:
            self.fd()  # needed below, and the xattrs cost less by it than by a path
        names = self.list_xattrs()
        if self.tree.read_only:
            self._xattr_whiteouts = self._tells_of_xattr_whiteouts(names)
        marks = mark_forms.read_marks(names, self.get_xattr, self.tree.mark_names)
        if with_opaque_file and not marks.opaque and self._has(mark_forms.AUFS_OPAQUE):
            return marks._replace(opaque=True)
        return marks

    def _has(self, name: bytes) -> bool:
        return files.exists_at(self.fd(), name)

    def directory(self, name: bytes, ino: int = 0) -> HostDirectory:
        directory = HostDirectory(self.tree, self, name)
        directory._ino = ino
        return directory

    def file(self, name: bytes, ino: int = 0) -> HostFile:
        return HostFile(self, name)
