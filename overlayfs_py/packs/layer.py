"""A pack as a layer of a union. Owners, devices and marks are shown, never made."""

from __future__ import annotations

import errno
import os
import stat
from operator import itemgetter
from typing import TYPE_CHECKING

from overlayfs_py.layers.interface import AWAY
from overlayfs_py.layers.marks import NO_MARK_NAMES, PACKED_MARKS, MarkNames, read_marks
from overlayfs_py.layers.origin import NUMBER_IN_PACK, OriginHandle, of_number
from overlayfs_py.layers.ownership import powerless_mode
from overlayfs_py.layers.values import (
    WHITEOUT_TYPE,
    Absence,
    Attributes,
    Entry,
    Finding,
    Marks,
)
from overlayfs_py.packs.errors import CorruptLayer
from overlayfs_py.packs.format import LARGEST_FILE, LONGEST_TARGET, ROOT, Flag, join_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from overlayfs_py.layers.ids import IdMap
    from overlayfs_py.layers.numbering import Numbering
    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.index import Child
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.reader import PackReader

_UUID_SIZE = 16
_BLOCK = 4096
_SECTORS = _BLOCK // 512
# As far as a kernel's device numbers go (include/linux/kdev_t.h).
_MOST_MAJOR = (1 << 12) - 1
_MOST_MINOR = (1 << 20) - 1
_TYPE_MASK = 0o170000
_SECOND_NS = 1_000_000_000
_DEVICES = (stat.S_IFCHR, stat.S_IFBLK)
_NUMBER = itemgetter(1)
_NAMESPACES = (b"user.", b"trusted.", b"security.")
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")


class PackLayer:
    """One pack in a stack."""

    def __init__(
        self, numbering: Numbering, pack: Pack, ids: IdMap, *, trusted: bool = True
    ) -> None:
        """Take over `pack`; `numbering` is the mount's.

        Of one that is not trusted, set-id bits, devices, redirects and metacopies mean nothing.
        """
        self.pack = pack
        self.ids = ids
        self.mark_names = PACKED_MARKS if trusted else NO_MARK_NAMES
        self._trusted = trusted
        self._shows_ids = ids.changes_nothing
        self._base = numbering.first_of_pack(pack.index.inodes)
        self.root = PackDirectory(self, ROOT)

    @property
    def fd(self) -> int:
        """The pack's descriptor."""
        return self.pack.fd

    def origin_of(self, number: int) -> OriginHandle:
        """Return what an object is for ever."""
        return of_number(NUMBER_IN_PACK, self._uuid, number)

    def links_behind(self, origin: OriginHandle) -> int | None:
        """Return the link count of what a copy says it is of; None if it is not of here."""
        if self.number_behind(origin) is None:
            return None
        return self.pack.index.inode(origin.number or 0).nlink

    def number_behind(self, origin: OriginHandle) -> int | None:
        """Return the mount's number for what a copy says it is of; None if it is not of here."""
        if origin.kind != NUMBER_IN_PACK or origin.uuid != self._uuid:
            return None
        number = origin.number
        return None if number is None or number >= self.pack.index.inodes else self._base + number

    @property
    def _uuid(self) -> bytes:
        return self.pack.digest[:_UUID_SIZE]

    def close(self) -> None:
        """Close the pack."""
        self.pack.close()

    def attributes_of(self, number: int, inode: Inode) -> Attributes:
        """Return what stat(2) shows of an object; its times are the two that a pack keeps."""
        mode, flags, uid, gid, nlink, size, mtime_s, atime_s, mtime_ns, atime_ns = inode[:10]
        kind = mode & 0o170000
        blocks = 0
        rdev = 0
        if kind == stat.S_IFREG:
            if size > LARGEST_FILE:
                raise CorruptLayer(self.pack.path, f"file {number} is larger than a file can be")
            if flags & Flag.SPARSE:
                blocks = -(-self.pack.index.stored_bytes(inode) // _BLOCK) * _SECTORS
            else:
                blocks = -(-size // _BLOCK) * _SECTORS
        elif kind == stat.S_IFDIR:
            size, blocks = _BLOCK, _SECTORS
        elif kind in _DEVICES:
            rdev = self._device(number, inode)
        if not self._trusted:
            mode, rdev = powerless_mode(mode, rdev)
        if not self.ids.changes_nothing:
            uid, gid = self.ids.seen_uid(uid), self.ids.seen_gid(gid)
        mtime = join_ns(mtime_s, mtime_ns)
        return Attributes(
            self._base + number,
            mode,
            nlink,
            uid,
            gid,
            rdev,
            size,
            blocks,
            _BLOCK,
            join_ns(atime_s, atime_ns),
            mtime,
            mtime,
        )

    def attributes_in_short(self, child: Child | None, *, whole_only: bool) -> Attributes | None:
        """Return what `attributes_of` does of what has nothing special about it, else None.

        All in one place, since a listing asks for each of its names.
        """
        if child is None:
            return None
        number, mode, flags, uid, gid, nlink, size, mtime_s, atime_s, mtime_ns, atime_ns, *_rest = (
            child
        )
        kind = mode & _TYPE_MASK
        if kind == stat.S_IFREG:
            if flags & Flag.SPARSE or size > LARGEST_FILE or (whole_only and child[-1]):
                return None
        elif kind == stat.S_IFDIR:
            size = _BLOCK
        elif kind != stat.S_IFLNK:
            return None
        if not self._trusted:
            mode, _ = powerless_mode(mode, 0)
        if not self._shows_ids:
            uid, gid = self.ids.seen_uid(uid), self.ids.seen_gid(gid)
        blocks = 0 if kind == stat.S_IFLNK else -(-size // _BLOCK) * _SECTORS
        mtime = mtime_s * _SECOND_NS + mtime_ns
        atime = atime_s * _SECOND_NS + atime_ns
        shown = (
            self._base + number,
            *(mode, nlink, uid, gid, 0, size, blocks, _BLOCK, atime, mtime, mtime),
        )
        return tuple.__new__(Attributes, shown)

    def own_number(self, ino: int) -> int:
        """Return the number in the pack of what the mount shows as `ino`."""
        return ino - self._base

    def _device(self, number: int, inode: Inode) -> int:
        major, minor = inode.first >> 32, inode.first & 0xFFFFFFFF
        if major > _MOST_MAJOR or minor > _MOST_MINOR:
            raise CorruptLayer(self.pack.path, f"device {number} has no number of a device")
        return os.makedev(major, minor)


class PackObject:
    """Any object of a pack, by its number."""

    __slots__ = ("_layer", "_number")

    def __init__(self, layer: PackLayer, number: int) -> None:
        self._layer = layer
        self._number = number

    def inode(self) -> Inode:
        """Return the pack's record of it."""
        return self._layer.pack.index.inode(self._number)

    def owner_behind(self, ids: IdMap) -> tuple[int, int] | None:
        if self._layer.ids != ids:
            return None
        inode = self.inode()
        return inode.uid, inode.gid

    def origin(self) -> OriginHandle:
        return self._layer.origin_of(self._number)

    def attributes(self) -> Attributes:
        return self._layer.attributes_of(self._number, self.inode())

    def read_link(self) -> bytes:
        inode = self.inode()
        if not stat.S_ISLNK(inode.mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        pack = self._layer.pack
        if not 0 < inode.size <= LONGEST_TARGET:
            raise CorruptLayer(pack.path, f"symbolic link {self._number} has no target")
        return pack.index.text(inode.first, inode.size)

    def list_xattrs(self) -> list[bytes]:
        return list(self._xattrs())

    def lacks_xattr(self, name: bytes) -> bool:
        return name not in self._xattrs() and _why_no_xattr(name) == errno.ENODATA

    def get_xattr(self, name: bytes) -> bytes:
        value = self._xattrs().get(name)
        if value is None:
            number = _why_no_xattr(name)
            raise OSError(number, os.strerror(number), name)
        return value

    def _xattrs(self) -> dict[bytes, bytes]:
        return self._layer.pack.index.xattrs(self.inode())


def _why_no_xattr(name: bytes) -> int:
    """The errno that a filesystem on a disk has for it (fs/xattr.c, xattr_resolve_name)."""
    if name in _NAMESPACES:
        return errno.EINVAL
    return errno.ENODATA if name in _ACLS or name.startswith(_NAMESPACES) else errno.EOPNOTSUPP


class PackFile(PackObject):
    """Anything but a directory."""

    __slots__ = ()

    @property
    def mark_names(self) -> MarkNames:
        return self._layer.mark_names

    def pieces(self) -> int:
        inode = self.inode()
        pack = self._layer.pack
        is_away = not pack.is_whole and stat.S_ISREG(inode.mode)
        if is_away and pack.reader(inode).is_away(0, inode.size):
            return AWAY
        return max(1, inode.amount)

    def open_reader(self) -> PackReader:
        inode = self.inode()
        # All hole: either that is so, or the data lies in another layer.
        empty = inode.size and not inode.amount and not inode.flags & Flag.INLINE
        if empty and any(name in PACKED_MARKS.metacopy for name in self._xattrs()):
            raise OSError(errno.EPERM, "its data lies in another layer (metacopy)")
        return self._layer.pack.reader(inode)


class PackDirectory(PackObject):
    """A directory."""

    __slots__ = ("_found", "_listed")

    def __init__(self, layer: PackLayer, number: int) -> None:
        super().__init__(layer, number)
        self._listed: Inode | None = None  # itself, once its part of the tables is in memory
        self._found: tuple[bytes, int] = (b"", ROOT)  # what `find` found last, and its number

    def find(self, name: bytes) -> Finding:
        index = self._layer.pack.index
        at = index.find(self._listed or self._listable(), name)
        if at < 0:
            return Absence.MISSING
        number, kind = index.dirent(at)
        if kind == WHITEOUT_TYPE:
            return Absence.WHITEOUT
        inode = index.child(self._number, at, number, kind)
        self._found = (name, number)
        return self._layer.attributes_of(number, inode)

    def find_many(
        self, names: Sequence[bytes], *, whole_only: bool = False
    ) -> Sequence[Attributes | None]:
        layer = self._layer
        directory = self._listed or self._listable()
        children = layer.pack.index.children(directory, self._number, names)
        return [layer.attributes_in_short(child, whole_only=whole_only) for child in children]

    def deletes(self, name: bytes) -> bool:
        index = self._layer.pack.index
        inode = self._listed or self._listable()
        at = index.find(inode, name)
        if at < 0:
            return False
        if index.dirent(at)[1] == WHITEOUT_TYPE:
            return True
        after = at + 1
        return (
            after < inode.first + inode.amount
            and index.name_at(after) == name
            and index.dirent(after)[1] == WHITEOUT_TYPE
        )

    def length(self) -> int:
        return self.inode().amount

    def entries(self, *, apart: bool = False) -> Iterator[Entry]:
        """List it in the order in which its objects were packed, as their data lies on disk.

        In steps it goes by the table: sorting would be one step, and a long one.
        """
        index = self._layer.pack.index
        names = index.names(self._listed or self._listable())
        listed = names if apart else sorted(names, key=_NUMBER)
        new = tuple.__new__  # half of what Entry(...) takes
        return (new(Entry, (name, kind << 12)) for name, _, kind in listed)

    def marks(self, *, with_opaque_file: bool = True) -> Marks:
        inode = self.inode()
        marks = read_marks(self.list_xattrs(), self.get_xattr, self._layer.mark_names)
        return Marks(bool(inode.flags & Flag.OPAQUE), marks.redirect)

    def directory(self, name: bytes, ino: int = 0) -> PackDirectory:
        number = self._number_of(name) if ino == 0 else self._layer.own_number(ino)
        return PackDirectory(self._layer, number)

    def file(self, name: bytes, ino: int = 0) -> PackFile:
        number = self._number_of(name) if ino == 0 else self._layer.own_number(ino)
        return PackFile(self._layer, number)

    def _listable(self) -> Inode:
        self._listed = self._layer.pack.index.directory(self._number, whole=False)
        return self._listed

    def _number_of(self, name: bytes) -> int:
        if self._found[0] != name and not isinstance(self.find(name), Attributes):
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._found[1]
