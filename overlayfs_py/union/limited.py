"""A union whose upper may take so many bytes, and not one more.

Plan: a union like any other, with the books kept around its calls. Before a change there has to be
room for what it surely takes; after it, whatever it has touched is looked at (`account`). What
turned out to take too much is undone. So a union without a limit knows nothing of all this, and
makes no call more.

What has lost its last name counts until it is let go, as on the disk. Volumes do not count.
"""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostDirectory
from overlayfs_py.syscalls.files import RENAME_EXCHANGE
from overlayfs_py.union import contents
from overlayfs_py.union.account import BLOCK_BYTES, Account, no_space
from overlayfs_py.union.core import Union
from overlayfs_py.union.last_blocks import KEEP_SIZE, PUNCH_HOLE, LastBlocks
from overlayfs_py.union.nameless import DescriptorOfRemoved, ParkedFile
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.opened import opened
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.layers.host import HostFile
    from overlayfs_py.union.copy_up import CopyUp
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.renames import Rename
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.union.upper import Upper
    from overlayfs_py.union.values import AttributeChange, Attributes, Creator, StackSpec

# What a filesystem may take for itself beside the data (a tree of extents). Nearer to the limit
# than that each block is looked at.
_SLACK_BYTES = 256 * 1024
_COLLAPSE_RANGE = 8  # linux/falloc.h
_INLINE_LINK_BYTES = 59  # of a symbolic link's target, which ext4 keeps in the inode
# Of `os.statvfs_result`.
_BLOCK_FIELDS = slice(2, 5)


class LimitedUnion(Union):
    """A union with an upper and `StackSpec.upper_limit`."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__(spec)
        try:
            self._begin_account()
        except BaseException:
            self.close()
            raise

    def _begin_account(self) -> None:
        """Count all that is there: what a killed process has left is nowhere written down."""
        upper = self._state.require_upper()
        limit = self._state.spec.upper_limit
        assert limit is not None
        self._counted = upper
        self._account = Account(limit)
        self._unit = os.fstatvfs(upper.tree.root_fd()).f_frsize
        self._reserved: dict[CopyUp, int] = {}
        work = HostDirectory.opened(upper.tree, os.dup(upper.work_fd))
        try:
            self._account.count([upper.tree.root, work])
        finally:
            work.let_go()
        # Whether directories take blocks, and so may take one for each name more.
        self._of_directory = self._unit if upper.stage.status().st_blocks else 0

    @property
    def account(self) -> Account:
        """What is taken of the limit."""
        if self._counted is not self._state.upper:
            self._begin_account()  # another upper, after `reset`
        return self._account

    def statistics(self, node: Node) -> os.statvfs_result:
        """Return the limit and what is left of it, or of the disk where that is less."""
        found = super().statistics(node)
        if not node.cacheable:
            return found
        left = max(self.account.left_bytes, 0) // found.f_frsize
        values = list(found)
        values[_BLOCK_FIELDS] = [
            self.account.limit_bytes // found.f_frsize,
            min(left, found.f_bfree),
            min(left, found.f_bavail),
        ]
        return os.statvfs_result(values)

    def release(self, ino: int, count: int) -> None:
        node = self._state.table.find(ino)
        held = None if node is None or not node.cacheable else _inode_of_removed(node)
        super().release(ino, count)
        if held is not None and self._state.table.find(ino) is not node:
            self.account.forget(held)

    # Data.

    def open_file(self, node: Node, *, write: bool) -> None:
        if write:
            self._bring(node)
        super().open_file(node, write=write)

    def write(self, node: Node, offset: int, data: bytes | memoryview) -> int:
        return self._fill(node, offset, data, super().write)

    def write_back(self, node: Node, offset: int, data: bytes | memoryview) -> int:
        return self._fill(node, offset, data, super().write_back)

    def _fill(
        self,
        node: Node,
        offset: int,
        data: bytes | memoryview,
        write: Callable[[Node, int, bytes | memoryview], int],
    ) -> int:
        if not node.cacheable:
            return write(node, offset, data)
        self._bring(node)
        if len(data) + _SLACK_BYTES <= self.account.left_bytes or node.protection:
            written = write(node, offset, data)
            self._note_data(node)
            return written
        return self._last_blocks(node).write(
            offset, memoryview(data), lambda at, piece: write(node, at, piece)
        )

    def allocate(self, node: Node, mode: int, offset: int, length: int) -> None:
        if not node.cacheable:
            super().allocate(node, mode, offset, length)
            return
        self._bring(node)
        gives_back = mode & (PUNCH_HOLE | _COLLAPSE_RANGE)
        if not gives_back and length + _SLACK_BYTES > self.account.left_bytes:
            self._last_blocks(node).allocate(mode, offset, length)
            if mode & KEEP_SIZE:
                return
        super().allocate(node, mode, offset, length)
        self._note_data(node)

    def copy_range(
        self,
        source: Node,
        source_offset: int,
        target: Node,
        target_offset: int,
        length: int,
    ) -> int:
        if target.cacheable:
            self._bring(target)
            if length + _SLACK_BYTES > self.account.left_bytes:
                step = min(length, self._unit * 16)
                data = self.read(source, source_offset, step)
                return self.write(target, target_offset, data)
        copied = super().copy_range(source, source_offset, target, target_offset, length)
        self._note_data(target)
        return copied

    def _last_blocks(self, node: Node) -> LastBlocks:
        fd = contents.writable_fd(self._state, contents.require_regular(node))
        return LastBlocks(self.account, fd, self._unit)

    # Attributes.

    def change_attributes(self, node: Node, change: AttributeChange) -> Attributes:
        if not change.changes_nothing:
            self._bring(node, change.need)
        with self._touching(node):
            return super().change_attributes(node, change)

    def kill_privileges(self, node: Node, is_in: Callable[[int], bool]) -> bool:
        self._bring(node)
        with self._touching(node):
            return super().kill_privileges(node, is_in)

    def set_xattr(self, node: Node, name: bytes, value: bytes, flags: int = 0) -> None:
        self._bring(node, Need.ATTRIBUTES)
        self._note(node)
        if self.account.left_bytes > len(value) + _SLACK_BYTES:
            with self._touching(node):
                super().set_xattr(node, name, value, flags)
            return
        used, before = self.account.used_bytes, self._value_of(node, name)
        with self._touching(node):
            super().set_xattr(node, name, value, flags)
        if self.account.left_bytes < 0 and self.account.used_bytes > used:
            if before is None:
                super().remove_xattr(node, name)
            else:
                super().set_xattr(node, name, before)
            self._note(node)
            raise no_space()

    def _value_of(self, node: Node, name: bytes) -> bytes | None:
        with suppress(OSError):
            return self.get_xattr(node, name)
        return None

    def remove_xattr(self, node: Node, name: bytes) -> None:
        self.get_xattr(node, name)  # where there is none, nothing need be copied up
        self._bring(node, Need.ATTRIBUTES)
        with self._touching(node):
            super().remove_xattr(node, name)

    def set_flags(self, node: Node, flags: int) -> None:
        self._bring(node)
        with self._touching(node):
            super().set_flags(node, flags)

    # Names.

    def make_node(
        self, parent: Node, name: bytes, mode: int, rdev: int, creator: Creator
    ) -> tuple[Node, Attributes]:
        with self._making(parent, name):
            return super().make_node(parent, name, mode, rdev, creator)

    def make_directory(
        self, parent: Node, name: bytes, mode: int, creator: Creator
    ) -> tuple[Node, Attributes]:
        with self._making(parent, name):
            return super().make_directory(parent, name, mode, creator)

    def make_symlink(
        self, parent: Node, name: bytes, target: bytes, creator: Creator
    ) -> tuple[Node, Attributes]:
        with self._making(parent, name):
            return super().make_symlink(parent, name, target, creator)

    @contextmanager
    def _making(self, parent: Node, name: bytes) -> Iterator[None]:
        """While the body makes something: what turns out to have no room is removed again."""
        self._require_name(parent)
        with self._touching(parent):
            yield
        made = self.lookup(parent, name) if parent.cacheable else None
        if made is None:
            return
        self._note(made)
        if self.account.left_bytes >= 0:
            return
        if isinstance(made, DirectoryNode):
            self.remove_directory(parent, name)
        else:
            self.unlink(parent, name)
        raise no_space()

    def create_temporary(self, parent: Node, mode: int, creator: Creator) -> Node:
        self._require_name(parent)
        with self._touching(parent):
            made = super().create_temporary(parent, mode, creator)
        self._note(made)
        if parent.cacheable and self.account.left_bytes < 0:
            self.hold(made)
            self.release(made.ino, 1)
            raise no_space()
        return made

    def link(self, node: Node, parent: Node, name: bytes) -> Node:
        self._require_name(parent)
        self._bring(node)
        with self._touching(parent):
            return super().link(node, parent, name)

    def unlink(self, parent: Node, name: bytes) -> None:
        self._require_directories(parent)
        with self._losing(parent, self.lookup(parent, name)):
            super().unlink(parent, name)

    def remove_directory(self, parent: Node, name: bytes) -> Steps[None] | None:
        self._require_directories(parent)
        with self._losing(parent, self.lookup(parent, name)):
            steps = super().remove_directory(parent, name)
            if steps is None:
                return None
        return self._removing(parent, name, steps)

    def _removing(self, parent: Node, name: bytes, steps: Steps[None]) -> Steps[None]:
        with self._losing(parent, self.lookup(parent, name)):
            yield from steps

    def carry_out(self, planned: Rename) -> None:
        for end in (planned.old, planned.new):
            self._require_directories(end.parent)
        for node in planned.moved:
            self._bring(node, self.need_of_rename)
        victim = None if planned.flags & RENAME_EXCHANGE else planned.new.node
        if victim is not None and planned.old.node is not None:
            victim = None if victim.ino == planned.old.node.ino else victim
        with (
            self._touching(planned.old.parent, *planned.moved),
            self._losing(planned.new.parent, victim),
        ):
            super().carry_out(planned)

    @contextmanager
    def _losing(self, parent: Node, node: Node | None) -> Iterator[None]:
        """While the body takes a name of `node` away: what goes with it is not counted any more."""
        inode = None if node is None or not node.cacheable else self._inode_of(node)
        entry = node.index if isinstance(node, FileNode) else None
        was_known = node is not None and self._state.table.find(node.ino) is node
        with self._touching(parent):
            yield
        if inode is None:
            return
        if isinstance(node, FileNode):
            was_last = inode.st_nlink == 1 if entry is None else not _exists(entry)
            is_gone = was_last and node.held is None
        else:
            is_gone = not was_known
        if is_gone:
            self.account.forget(inode.st_ino)

    # Copy-up.

    def begin_copy_up(self, node: Node, need: Need = Need.DATA) -> CopyUp | None:
        if not isinstance(node, FileNode) or not _lacks(node, need):
            return super().begin_copy_up(node, need)
        needed = self._size_of_copy(node, need) + self._size_of_directories(node.parent)
        self.account.require(needed)
        copy = super().begin_copy_up(node, need)
        if copy is not None:
            self._reserved[copy] = needed
            self.account.reserve(needed)
        return copy

    def commit_copy_up(self, copy: CopyUp) -> None:
        self._give_back(copy)
        node = copy.node
        if node.lower is None and node.below is None:
            super().commit_copy_up(copy)
            return
        status = copy.staged.item.status()
        needed = status.st_blocks * BLOCK_BYTES + self._size_of_directories(node.parent)
        if needed and needed > self.account.left_bytes:
            copy.discard()
            raise no_space()
        before = None if node.lower is not None else node.writable.status()
        kept = len(self._counted.kept)
        with self._touching(node):
            super().commit_copy_up(copy)
        if before is not None and len(self._counted.kept) == kept:
            after = node.writable.status()
            if after.st_ino != before.st_ino:
                self.account.forget(before.st_ino)

    def abort_copy_up(self, copy: CopyUp) -> None:
        self._give_back(copy)
        super().abort_copy_up(copy)

    def _give_back(self, copy: CopyUp) -> None:
        self.account.reserve(-self._reserved.pop(copy, 0))

    def _bring(self, node: Node, need: Need = Need.DATA) -> None:
        """Copy up what a change needs in the upper, where there is room for it."""
        if not node.cacheable:
            return
        if isinstance(node, DirectoryNode):
            self._require_directories(node)
            return
        if not isinstance(node, FileNode) or not _lacks(node, need):
            return
        copy = self.begin_copy_up(node, need)
        if copy is None:
            self.account.require(
                self._size_of_special(node) + self._size_of_directories(node.parent)
            )
            return
        try:
            copy.transfer()
        except BaseException:
            self.abort_copy_up(copy)
            raise
        self.commit_copy_up(copy)

    def _size_of_copy(self, node: FileNode, need: Need) -> int:
        """What a copy of a regular file takes at most, as far as its layer tells."""
        size = self.copy_up_size(node, need)
        if node.type != stat.S_IFREG or not size:
            return 0
        blocks = node.data.attributes().blocks if node.below is None else node.below.blocks
        taken = min(size, blocks * BLOCK_BYTES)
        return taken + -taken % self._unit

    def _size_of_special(self, node: FileNode) -> int:
        is_link = node.type == stat.S_IFLNK and node.lower is not None
        if not is_link or len(self.read_link(node)) <= _INLINE_LINK_BYTES:
            return 0
        return self._unit

    # Directories.

    def _require_name(self, parent: Node) -> None:
        """Require room for a name more, which may take a block of its directory's."""
        if parent.cacheable:
            of_names = self._size_of_directories(parent) or self._of_directory
            self.account.require(of_names)
            if self.account.left_bytes < 0:
                raise no_space()

    def _require_directories(self, directory: Node) -> None:
        """Require room for copying a directory up, and those above it that are not there yet."""
        if directory.cacheable and isinstance(directory, DirectoryNode):
            self.account.require(self._size_of_directories(directory))

    def _size_of_directories(self, node: Node | None) -> int:
        missing, here = 0, node
        while isinstance(here, DirectoryNode) and here.upper is None:
            missing, here = missing + 1, here.parent
        # The first of them is a name more in a directory that is there.
        return (missing + 1) * self._of_directory if missing else 0

    # Looking at what has changed.

    def _inode_of(self, node: Node) -> os.stat_result | None:
        """The inode of what lies in the upper; None of what lies in a layer."""
        if isinstance(node, DirectoryNode):
            return None if node.upper is None else node.upper.status()
        if not isinstance(node, FileNode) or node.lower is not None:
            return None
        return (opened(self._state, node) or node.writable).status()

    @contextmanager
    def _touching(self, *nodes: Node) -> Iterator[None]:
        """Whatever becomes of the body: directories may have been copied up for it."""
        try:
            yield
        finally:
            for node in nodes:
                self._note(node)

    def _note_data(self, node: Node) -> None:
        """Count a file of which data has changed, and nothing else."""
        status = self._inode_of(node) if node.cacheable else None
        if status is not None:
            self.account.note(status)

    def _note(self, node: Node) -> None:
        """Count a node as it is now, and what may have been made for it."""
        if not node.cacheable:
            return
        if isinstance(node, DirectoryNode):
            self._note_directories(node)
            return
        status = self._inode_of(node)
        if status is not None:
            self.account.note(status)
        if node.parent is not None:
            self._note_directories(node.parent)

    def _note_directories(self, node: Node) -> None:
        """Count a directory, those above that are new, and the workdir's."""
        if not node.cacheable:
            return
        account, here = self.account, node
        while isinstance(here, DirectoryNode) and here.upper is not None:
            status = here.upper.status()
            was_known = account.knows(status.st_ino)
            account.note(status)
            if was_known or here.parent is None:
                break
            here = here.parent
        for directory in _of_workdir(self._counted):
            account.note(directory.status())


def _of_workdir(upper: Upper) -> list[HostDirectory]:
    index = upper.index.directory
    return [upper.stage] if index is None else [upper.stage, index]


def _exists(item: HostFile) -> bool:
    try:
        item.status()
    except FileNotFoundError:
        return False
    return True


def _lacks(node: FileNode, need: Need) -> bool:
    """Whether a change of a file copies something up first."""
    return node.lower is not None or (node.below is not None and need is not Need.ATTRIBUTES)


def _inode_of_removed(node: Node) -> int | None:
    """The inode that goes with the last reference to a node."""
    if isinstance(node, FileNode) and isinstance(node.held, DescriptorOfRemoved | ParkedFile):
        # By a name that nobody has looked up it may go on.
        return node.held.status().st_ino if node.held.is_gone else None
    if isinstance(node, DirectoryNode) and node.removed and node.upper is not None:
        return node.upper.status().st_ino
    return None
