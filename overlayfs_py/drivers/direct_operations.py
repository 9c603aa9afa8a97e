"""The union answers the kernel's requests: each handler calls, maps, wraps.

A handler returns the payload of its answer, or an awaitable of one where it may have to wait.
Errors leave as exceptions, ordinary ones as numbers. Nodes go by inode number, the root by 1.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

from overlayfs_py.drivers.callers import chown_to_nobody, leave_group, membership, xattrs_shown_to
from overlayfs_py.drivers.direct_data import DataOperations
from overlayfs_py.drivers.direct_values import change_of, sized, ttl_s
from overlayfs_py.late_import import LateModule
from overlayfs_py.union import acl
from overlayfs_py.union.values import AttributeChange, Creator, Need
from overlayfs_py.wire import protocol, replies, requests
from overlayfs_py.wire.inode_flags import extended_flags, plain_flags
from overlayfs_py.wire.protocol import OpenFlag

if TYPE_CHECKING:
    import trio

    from overlayfs_py.drivers.direct_shared import Answer
    from overlayfs_py.union.core import Node
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.wire.requests import Body, Header
else:
    trio = LateModule("trio")

_NOTHING = b""
OPENED = replies.opened(0, OpenFlag.KEEP_CACHE)


class DirectOperations(DataOperations):
    """The request handlers of one mount."""

    # Names and nodes

    def lookup(self, header: Header, body: requests.Named) -> Answer:
        """LOOKUP."""
        parent = self._node(header.node)
        name = body.name
        seen = self._union.look(parent, name)
        if seen is None:
            if parent.cacheable:
                return replies.ABSENT
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        self._uses.look(parent, name, seen[0])
        return self._entry_held(*seen)

    def forget(self, header: Header, body: requests.Forgotten) -> None:
        """FORGET and BATCH_FORGET, which nobody answers."""
        for ino, count in body.nodes:
            self.give_up(ino or header.node, count)

    def give_up(self, ino: int, count: int) -> None:
        """Count references that the kernel has given up."""
        if ino == protocol.ROOT_ID:
            return
        self._union.release(ino, count)
        # Nobody has it open: its listing is of no use, and its number may become another's.
        if ino in self._listings and not self._is_known(ino):
            self._listings.drop(ino)

    def _is_known(self, ino: int) -> bool:
        try:
            self._nodes_by_id(ino)
        except OSError:  # ESTALE
            return False
        return True

    def getattr(self, header: Header, _body: Body) -> Answer:
        """GETATTR."""
        node = self._node(header.node)
        found = self._union.attributes(node)
        return replies.attributes(found, replies.NEVER if node.cacheable else 0)

    def statx(self, header: Header, _body: Body) -> Answer:
        """STATX: what GETATTR says, and the time of birth."""
        node = self._node(header.node)
        found = self._union.attributes(node)
        return replies.statx(found, self._union.birth_time_ns(node), ttl_s(node))

    def setattr(self, header: Header, body: requests.Setattr) -> Answer:
        """SETATTR."""
        node = self._node(header.node)
        change = change_of(header, body)
        need = change.need
        if change.changes_nothing:
            is_in = membership(header.gid, header.pid)
            chown_to_nobody(self._union, node, header.uid, is_in)
        elif self._copy_ups.is_long(node, need):
            return self._setattr_later(node, change, need)
        return self._set(node, change)

    async def _setattr_later(self, node: Node, change: AttributeChange, need: Need) -> bytes:
        await self._copied_up(node, need)
        return self._set(node, change)

    def _set(self, node: Node, change: AttributeChange) -> bytes:
        return replies.attributes(self._union.change_attributes(node, change), ttl_s(node))

    def readlink(self, header: Header, _body: Body) -> Answer:
        """READLINK."""
        node = self._node(header.node)
        self._uses.follow(node)
        return self._union.read_link(node)

    # Making and removing names

    def mknod(self, header: Header, new: requests.Mknod) -> Answer:
        """MKNOD."""
        creator = Creator(header.uid, header.gid, new.umask)
        parent = self._node(header.node)
        return self._entry_held(
            *self._union.make_node(parent, new.name, new.mode, new.rdev, creator)
        )

    def mkdir(self, header: Header, new: requests.Mknod) -> Answer:
        """MKDIR."""
        creator = Creator(header.uid, header.gid, new.umask)
        parent = self._node(header.node)
        return self._entry_held(*self._union.make_directory(parent, new.name, new.mode, creator))

    def symlink(self, header: Header, new: requests.Symlink) -> Answer:
        """SYMLINK."""
        creator = Creator(header.uid, header.gid)
        parent = self._node(header.node)
        return self._entry_held(*self._union.make_symlink(parent, new.name, new.target, creator))

    def create(self, header: Header, new: requests.Create) -> Answer:
        """CREATE: a file, opened at once with handle 0, as all files are."""
        creator = Creator(header.uid, header.gid, new.umask)
        parent = self._node(header.node)
        try:
            made = self._union.create_file(parent, new.name, stat.S_IMODE(new.mode), creator)
        except FileExistsError:
            if new.flags & os.O_EXCL:
                raise
            # Somebody was faster, behind our back in a volume: let the kernel look again.
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), new.name) from None
        return self._entry_held(*made) + OPENED

    def tmpfile(self, header: Header, new: requests.Create) -> Answer:
        """TMPFILE: a file without a name."""
        creator = Creator(header.uid, header.gid, new.umask)
        parent = self._node(header.node)
        return self._made(self._union.create_temporary(parent, new.mode, creator)) + OPENED

    def link(self, header: Header, new: requests.Link) -> Answer:
        """LINK."""
        node, parent = self._node(new.old_node), self._node(header.node)
        if self._copy_ups.is_long(node):
            return self._link_later(node, parent, new.name)
        return self._made(self._union.link(node, parent, new.name))

    async def _link_later(self, node: Node, parent: Node, name: bytes) -> bytes:
        await self._copied_up(node)
        return self._made(self._union.link(node, parent, name))

    def unlink(self, header: Header, body: requests.Named) -> Answer:
        """UNLINK."""
        self._union.unlink(self._node(header.node), body.name)
        return _NOTHING

    def rmdir(self, header: Header, body: requests.Named) -> Answer:
        """RMDIR."""
        parent, name = self._node(header.node), body.name
        steps = self._union.remove_directory(parent, name)
        return _NOTHING if steps is None else self._taken(steps)

    async def _taken(self, steps: Steps[None]) -> bytes:
        await self._slices.run(steps)
        return _NOTHING

    def rename(self, header: Header, wanted: requests.Rename) -> Answer:
        """RENAME and RENAME2."""
        old, new = self._node(header.node), self._node(wanted.new_parent)
        # What is refused is not copied up first.
        planned = self._union.plan_rename(old, wanted.old_name, new, wanted.new_name, wanted.flags)
        need = self._union.need_of_rename
        late = [node for node in planned.moved if self._copy_ups.is_long(node, need)]
        if late:
            return self._rename_later(late, old, new, wanted)
        steps = self._union.carry_out(planned)
        return _NOTHING if steps is None else self._taken(steps)

    async def _rename_later(
        self, moved: list[Node], old: Node, new: Node, wanted: requests.Rename
    ) -> bytes:
        for node in moved:
            await self._copied_up(node, self._union.need_of_rename)
        steps = self._union.rename(old, wanted.old_name, new, wanted.new_name, wanted.flags)
        return _NOTHING if steps is None else await self._taken(steps)

    # Directories

    def readdir(self, header: Header, body: requests.Read) -> Answer:
        """READDIR: names, types and inode numbers."""
        return self._list(header, body, plus=False)

    def readdirplus(self, header: Header, body: requests.Read) -> Answer:
        """READDIRPLUS: names with all that a LOOKUP would answer."""
        return self._list(header, body, plus=True)

    def _list(self, header: Header, wanted: requests.Read, *, plus: bool) -> Answer:
        directory = self._node(header.node)
        self._uses.enumerate(directory)
        return self._listings.answer(directory, wanted, plus=plus)

    # Extended attributes, flags, and the filesystem

    def getxattr(self, header: Header, wanted: requests.Getxattr) -> Answer:
        """GETXATTR."""
        node = self._node(header.node)
        if self._union.lacks_xattr(node, wanted.name):
            return errno.ENODATA
        value = self._union.get_xattr(node, wanted.name)
        return sized(value, wanted.size)

    def listxattr(self, header: Header, body: requests.Getxattr) -> Answer:
        """LISTXATTR."""
        names = self._union.list_xattrs(self._node(header.node))
        if not names:  # as of most
            return _NOTHING if body.size else replies.written(0)
        listed = b"".join(name + b"\0" for name in xattrs_shown_to(header.uid, names))
        return sized(listed, body.size)

    def setxattr(self, header: Header, new: requests.Setxattr) -> Answer:
        """SETXATTR."""
        node = self._node(header.node)
        if self._copy_ups.is_long(node, Need.ATTRIBUTES):
            return self._setxattr_later(node, new)
        return self._setxattr(node, new)

    async def _setxattr_later(self, node: Node, new: requests.Setxattr) -> bytes:
        await self._copied_up(node, Need.ATTRIBUTES)
        return self._setxattr(node, new)

    def _setxattr(self, node: Node, new: requests.Setxattr) -> bytes:
        self._union.set_xattr(node, new.name, new.value, new.flags)
        if new.extra_flags & protocol.SETXATTR_ACL_KILL_SGID and new.name == acl.ACCESS:
            mode = self._union.attributes(node).mode & ~stat.S_ISGID
            self._union.change_attributes(node, AttributeChange(mode=stat.S_IMODE(mode)))
        return _NOTHING

    def removexattr(self, header: Header, body: requests.Named) -> Answer:
        """REMOVEXATTR."""
        node, name = self._node(header.node), body.name
        if self._copy_ups.is_long(node, Need.ATTRIBUTES):
            self._union.get_xattr(node, name)  # where there is none, nothing need be copied up
            return self._removexattr_later(header, node, name)
        return self._removexattr(header, node, name)

    async def _removexattr_later(self, header: Header, node: Node, name: bytes) -> bytes:
        await self._copied_up(node, Need.ATTRIBUTES)
        return self._removexattr(header, node, name)

    def _removexattr(self, header: Header, node: Node, name: bytes) -> bytes:
        if name == acl.ACCESS:  # unlike SETXATTR it does not say what is to become of the mode
            leave_group(self._union, node, header.uid, header.gid, header.pid)
        self._union.remove_xattr(node, name)
        return _NOTHING

    def ioctl(self, header: Header, wanted: requests.Ioctl) -> Answer:
        """IOCTL: the inode's flags, and ENOTTY to all else."""
        node = self._node(header.node)
        if wanted.command == protocol.FS_IOC_GETFLAGS:
            flags = self._union.get_flags(node)
            return replies.ioctl(0, flags.to_bytes(4, sys.byteorder))
        if wanted.command == protocol.FS_IOC_FSGETXATTR:
            # The kernel asks for it before it sets flags (fs/file_attr.c, vfs_fileattr_set).
            return replies.ioctl(0, extended_flags(self._union.get_flags(node)))
        if wanted.command == protocol.FS_IOC_SETFLAGS:
            return self._set_flags(node, int.from_bytes(wanted.data[:4], sys.byteorder))
        if wanted.command == protocol.FS_IOC_FSSETXATTR:
            wished = plain_flags(wanted.data, self._union.get_flags(node))
            return errno.EOPNOTSUPP if wished is None else self._set_flags(node, wished)
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    def _set_flags(self, node: Node, flags: int) -> Answer:
        if self._copy_ups.is_long(node):
            return self._set_flags_later(node, flags)
        return self._flags_set(node, flags)

    async def _set_flags_later(self, node: Node, flags: int) -> bytes:
        await self._copied_up(node)
        return self._flags_set(node, flags)

    def _flags_set(self, node: Node, flags: int) -> bytes:
        self._union.set_flags(node, flags)
        self._outdate_attributes(node)  # the kernel does not think of the ctime
        return replies.ioctl(0, b"")

    def statfs(self, header: Header, _body: Body) -> Answer:
        """STATFS, of whatever the caller named."""
        return replies.statistics(self._union.statistics(self._node(header.node)))
