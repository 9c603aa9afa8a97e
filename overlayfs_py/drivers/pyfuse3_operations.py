"""The union answers libfuse's requests: each handler calls, maps, wraps.

The kernel's node ids are the inos of the union's nodes, except that its node 1 is the root.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pyfuse3
import trio

from overlayfs_py.drivers import pyfuse3_values as values
from overlayfs_py.drivers.callers import chown_to_nobody, leave_group, membership, xattrs_shown_to
from overlayfs_py.drivers.cookies import PAGE_LOOKS, PAGE_S, PAGE_SPREAD
from overlayfs_py.drivers.copyups import CopyUps
from overlayfs_py.drivers.errnos import BugLog
from overlayfs_py.drivers.listings import Listings
from overlayfs_py.drivers.outdated import Outdated
from overlayfs_py.drivers.pyfuse3_answers import at_once, mostly_at_once, waiting
from overlayfs_py.drivers.pyfuse3_wakeups import Wakeups
from overlayfs_py.drivers.slices import Slices
from overlayfs_py.drivers.threads import MOST_ARRIVALS, Threads
from overlayfs_py.union import acl
from overlayfs_py.union.contents import Arriving
from overlayfs_py.union.values import Creator, Need

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pyfuse3 import (
        EntryAttributes,
        FileHandleT,
        FileInfo,
        FileNameT,
        FlagT,
        InodeT,
        ModeT,
        ReaddirToken,
        RequestContext,
        SetattrFields,
        StatvfsData,
        XAttrNameT,
    )

    from overlayfs_py.drivers.listings import Listing
    from overlayfs_py.drivers.uses import Uses
    from overlayfs_py.union.core import Union
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.steps import Steps

# Guess: fsync(2) waits for the disk, not for a processor.
_MOST_SYNCS = 8
_QUIET_S = 0.001  # see `outdated`
# Guess: enough to keep a disk busy; decompressing takes a processor each.
_MOST_READS = 4


class UnionOperations(pyfuse3.Operations):
    """The request handlers of one mount.

    ENOSYS, which the kernel remembers for the whole mount, is answered on purpose to FLUSH (there
    is nothing to do at close(2); one message less), POLL (then the kernel takes every file as
    always ready, as on a disk) and ACCESS (never sent: the kernel checks permissions).
    """

    enable_acl = True
    enable_writeback_cache = False
    # This is about NFS: the kernel would look up "." in a node that it has forgotten, and the
    # union has forgotten it, too. A file handle stays good while the kernel remembers the node.
    supports_dot_lookup = False

    def __init__(
        self, union: Union, on_init: Callable[[], None], uses: Uses, *, leaves_umask: bool
    ) -> None:
        """Serve `union`; `on_init` is called when libfuse has read the kernel's first message."""
        super().__init__()
        self._on_init = on_init
        self._uses = uses
        self.bugs = BugLog()
        self.wakeups = Wakeups()
        self._union = union
        self._leaves_umask = leaves_umask
        self.slices = Slices()
        self._copy_ups = CopyUps(union, self.slices)
        self._outdated = Outdated(union, _outdate, self._tell_soon)
        self._listings = Listings(union)
        self._syncs = Threads(_MOST_SYNCS)
        self._read_limiter = trio.CapacityLimiter(_MOST_READS)
        self._arrival_limiter = trio.CapacityLimiter(MOST_ARRIVALS)

    def init(self) -> None:
        self._on_init()

    # Names and nodes

    @at_once
    def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        parent = self._node(parent_inode)
        node = self._union.lookup(parent, name)
        if node is not None:
            self._uses.look(parent, name, node)
            return self._held(node)
        if not parent.cacheable:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return values.absence(values.lifetime_s(parent))

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        for inode, count in inode_list:
            try:
                self._union.release(inode, count)
            except Exception as error:  # a FORGET has no answer that could carry the error
                self.bugs.note(error, "forget")

    @at_once
    def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        return self._entry(self._node(inode))

    @waiting
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        node = self._node(inode)
        change = values.change(attr, fields, ctx)
        if change.changes_nothing:
            chown_to_nobody(self._union, node, ctx.uid, membership(ctx.gid, ctx.pid))
        else:
            await self._copy_ups.ensure(node, change.need)
        self._union.note_caller(ctx)
        return values.entry(self._union.change_attributes(node, change), values.lifetime_s(node))

    @at_once
    def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        node = self._node(inode)
        self._uses.follow(node)
        return self._union.read_link(node)

    # Making and removing names

    @at_once
    def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._node(parent_inode)
        made, _ = self._union.make_node(parent, name, mode, rdev, self._creator(ctx))
        return self._held(made)

    @at_once
    def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        parent, permissions = self._node(parent_inode), stat.S_IMODE(mode)
        made, _ = self._union.make_directory(parent, name, permissions, self._creator(ctx))
        return self._held(made)

    @at_once
    def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._node(parent_inode)
        made, _ = self._union.make_symlink(parent, name, target, self._creator(ctx))
        return self._held(made)

    @waiting
    async def link(
        self,
        inode: InodeT,
        new_parent_inode: InodeT,
        new_name: FileNameT,
        ctx: RequestContext,
    ) -> EntryAttributes:
        node, parent = self._node(inode), self._node(new_parent_inode)
        await self._copy_ups.ensure(node)
        self._union.note_caller(ctx)
        return self._held(self._union.link(node, parent, new_name))

    @at_once
    def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        self._union.note_caller(ctx)
        self._union.unlink(self._node(parent_inode), name)

    @mostly_at_once
    def rmdir(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> Awaitable[None] | None:
        self._union.note_caller(ctx)
        steps = self._union.remove_directory(self._node(parent_inode), name)
        return None if steps is None else self.slices.run(steps)

    @waiting
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        old, new = self._node(parent_inode_old), self._node(parent_inode_new)
        # What is refused is not copied up first.
        self._union.plan_rename(old, name_old, new, name_new, flags)
        await self._ensure_movable(old, name_old)
        if flags & pyfuse3.RENAME_EXCHANGE:
            await self._ensure_movable(new, name_new)
        self._union.note_caller(ctx)
        steps = self._union.rename(old, name_old, new, name_new, flags)
        if steps is not None:
            await self.slices.run(steps)

    # Open files

    @at_once
    def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        node = self._node(inode)
        self._union.open_file(node, write=False)  # the first change copies it up
        return self._opened(node, flags, ctx)

    @at_once
    def create(
        self,
        parent_inode: InodeT,
        name: FileNameT,
        mode: ModeT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> tuple[FileInfo, EntryAttributes]:
        parent, permissions = self._node(parent_inode), stat.S_IMODE(mode)
        try:
            node, _ = self._union.create_file(parent, name, permissions, self._creator(ctx))
        except FileExistsError:
            if flags & os.O_EXCL:
                raise
            # Somebody was faster, behind our back in a volume. ESTALE makes the kernel look the
            # name up again and open what it finds, with its checks of permissions.
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name) from None
        entry = self._held(node)
        return self._opened(node, flags, ctx), entry

    def _opened(self, node: Node, flags: int, ctx: RequestContext) -> FileInfo:
        """Answer an open: a write does not tell its caller, so what it may do is asked here."""
        if _is_privileged(ctx) or flags & os.O_ACCMODE == os.O_RDONLY:
            return values.file_info(node, flags, privileged=_is_privileged(ctx))
        found = self._union.attributes(node)
        is_member = bool(found.mode & stat.S_ISGID) and membership(ctx.gid, ctx.pid)(found.gid)
        return values.file_info(node, flags, privileged=False, member=is_member)

    @mostly_at_once
    def read(self, fh: FileHandleT, off: int, size: int) -> bytes | Awaitable[bytes]:
        data = self._union.begin_read(self._union.node(values.ino_of(fh)), off, size)
        if isinstance(data, bytes):
            return data
        is_away = isinstance(data, Arriving)
        limiter = self._arrival_limiter if is_away else self._read_limiter
        return trio.to_thread.run_sync(data, limiter=limiter)

    @mostly_at_once
    def write(self, fh: FileHandleT, off: int, buf: bytes) -> int | Awaitable[int]:
        node = self._union.node(values.ino_of(fh))
        if self._copy_ups.is_long(node):
            return self._write_later(node, fh, off, buf)
        return self._write(node, fh, off, buf)

    async def _write_later(self, node: Node, fh: FileHandleT, off: int, buf: bytes) -> int:
        await self._copy_ups.ensure(node)
        return self._write(node, fh, off, buf)

    def _write(self, node: Node, fh: FileHandleT, off: int, buf: bytes) -> int:
        if not values.is_privileged(fh):
            self._kill_privileges(node, lambda _: values.is_member(fh))
        if values.appends(fh):
            # Where the kernel thinks that the file ends, others have written meanwhile.
            return self._union.append(node, buf)
        return self._union.write(node, off, buf)

    @waiting
    async def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        await self._sync(self._union.node(values.ino_of(fh)), data_only=datasync)

    async def release(self, fh: FileHandleT) -> None:
        """Nothing to do: a file handle holds nothing."""

    # Directories

    @at_once
    def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        directory = self._node(inode)
        self._uses.enumerate(directory)
        return pyfuse3.FileHandleT(self._listings.open(directory))

    @mostly_at_once
    def readdir(
        self, fh: FileHandleT, start_id: int, token: ReaddirToken
    ) -> Awaitable[None] | None:
        listing = self._listings[fh]
        steps = listing.prepare(start_id)
        if steps is not None:
            return self._list_later(listing, steps, start_id, token)
        self._list(listing, start_id, token)
        return None

    async def _list_later(
        self,
        listing: Listing,
        steps: Steps[dict[bytes, None]],
        start_id: int,
        token: ReaddirToken,
    ) -> None:
        listing.take(await self.slices.run(steps))
        self._list(listing, start_id, token)

    def _list(self, listing: Listing, start_id: int, token: ReaddirToken) -> None:
        spread = listed = 0
        until = time.thread_time() + PAGE_S
        for position, name in listing.entries_from(start_id):
            try:
                node = self._child(listing.node, name)
                entry = None if node is None else self._entry(node)
            except FileNotFoundError:
                continue  # gone since, behind our back in a volume
            if node is None or entry is None:
                continue
            if not pyfuse3.readdir_reply(token, name, entry, position):
                return
            # The kernel takes a reference with every entry but these two
            # (fs/fuse/readdir.c, fuse_direntplus_link).
            if name not in (b".", b".."):
                self._union.hold(node)
                spread += node.spread
            listed += 1
            if spread >= PAGE_SPREAD:
                return
            if listed % PAGE_LOOKS == 0 and time.thread_time() > until:
                return

    @waiting
    async def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        await self._sync(self._listings[fh].node, data_only=datasync)

    @at_once
    def releasedir(self, fh: FileHandleT) -> None:
        self._listings.close(fh)

    # Extended attributes, and the filesystem

    @at_once
    def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        return self._union.get_xattr(self._node(inode), name)

    @at_once
    def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        return xattrs_shown_to(ctx.uid, self._union.list_xattrs(self._node(inode)))

    @waiting
    async def setxattr(
        self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext
    ) -> None:
        node = self._node(inode)
        await self._copy_ups.ensure(node, Need.ATTRIBUTES)
        self._union.note_caller(ctx)
        self._union.set_xattr(node, name, value)  # pyfuse3 has seen to the flags
        if name == acl.ACCESS:
            leave_group(self._union, node, ctx.uid, ctx.gid, ctx.pid)

    @waiting
    async def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        node = self._node(inode)
        if self._copy_ups.is_long(node, Need.ATTRIBUTES):
            self._union.get_xattr(node, name)  # where there is none, nothing need be copied up
        await self._copy_ups.ensure(node, Need.ATTRIBUTES)
        self._union.note_caller(ctx)
        if name == acl.ACCESS:
            leave_group(self._union, node, ctx.uid, ctx.gid, ctx.pid)
        self._union.remove_xattr(node, name)

    @at_once
    def statfs(self, ctx: RequestContext) -> StatvfsData:
        return values.statistics(self._union.statistics(self._union.root))

    # What the handlers share

    def _node(self, inode: int) -> Node:
        if inode == pyfuse3.ROOT_INODE:
            return self._union.root
        return self._union.node(inode)

    def _child(self, directory: Node, name: bytes) -> Node | None:
        if name == b".":
            return directory
        if name == b"..":
            return self._union.parent(directory)
        return self._union.lookup(directory, name)

    def _entry(self, node: Node) -> EntryAttributes:
        return values.entry(self._union.attributes(node), values.lifetime_s(node))

    def _held(self, node: Node) -> EntryAttributes:
        """Return the answer after which the kernel refers to `node` once more."""
        entry = self._entry(node)
        self._union.hold(node)
        return entry

    def _creator(self, ctx: RequestContext) -> Creator:
        return Creator(ctx.uid, ctx.gid, ctx.umask if self._leaves_umask else 0)

    async def _ensure_movable(self, parent: Node, name: bytes) -> None:
        node = self._union.lookup(parent, name)
        if node is not None:
            await self._copy_ups.ensure(node, self._union.need_of_rename)

    async def _sync(self, node: Node, *, data_only: bool) -> None:
        await self._syncs.run_begun(lambda: self._union.sync(node, data_only=data_only))

    def _kill_privileges(self, node: Node, is_in: Callable[[int], bool]) -> None:
        """Clear the set-id bits of a file that one without CAP_FSETID is about to change.

        libfuse asks for HANDLE_KILLPRIV: the kernel leaves this to us, and does not clear the
        bits in the mode that it remembers either. At exec(2) it asks again as the write has made
        the size stale (seen in 6.18); that is not to be relied on.
        """
        if self._union.kill_privileges(node, is_in):
            _outdate(node.ino)

    def _tell_soon(self) -> None:
        trio.lowlevel.spawn_system_task(self._tell_when_quiet)

    async def _tell_when_quiet(self) -> None:
        await trio.sleep(_QUIET_S)
        # By then the session may be over, and nobody there to be told: EINVAL of libfuse, ENODEV or
        # ENOTCONN of the kernel. A system task must not fail: the daemon would end with it.
        with suppress(OSError):
            self._outdated.tell()


def _outdate(number: int) -> None:
    """Tell the kernel that what it remembers of a node's attributes is outdated.

    Attributes alone: takes no lock that a request could be holding
    (fs/fuse/inode.c, fuse_reverse_inval_inode).
    """
    with suppress(FileNotFoundError):  # the kernel has forgotten the node: even better
        pyfuse3.invalidate_inode(pyfuse3.InodeT(number), attr_only=True)


def _is_privileged(ctx: RequestContext) -> bool:
    # CAP_FSETID is what counts, and it does not come with the request: root stands for it.
    return ctx.uid == 0
