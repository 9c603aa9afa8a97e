"""A union whose upper may take so many bytes, and not one more.

Plan: a union like any other, with books kept around its calls. Before a change there has to be
room for what it surely takes; after it, whatever it has touched is looked at (`books`). What
turned out to take too much is undone. So a union without a limit knows nothing of all this, and
makes no call more.

What has lost its last name counts until it is let go, as on the disk. Volumes do not count.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from overlayfs_py.syscalls.files import RENAME_EXCHANGE
from overlayfs_py.union import contents
from overlayfs_py.union.account import BLOCK_BYTES, no_space
from overlayfs_py.union.books import Books
from overlayfs_py.union.core import Union
from overlayfs_py.union.last_blocks import KEEP_SIZE, PUNCH_HOLE, LastBlocks
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.union.account import Account
    from overlayfs_py.union.copy_up import CopyUp
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.renames import Rename
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.union.values import AttributeChange, Attributes, Creator, StackSpec

# What a filesystem may take for itself beside the data (a tree of extents). Nearer to the limit
# than that each block is looked at.
_SLACK_BYTES = 256 * 1024
_COPY_BYTES = 64 * 1024  # at a time, near the limit
_COLLAPSE_RANGE = 8  # linux/falloc.h
_BLOCK_FIELDS = slice(2, 5)  # of `os.statvfs_result`


class LimitedUnion(Union):
    """A union with an upper and `StackSpec.upper_limit`."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__(spec)
        assert spec.upper_limit is not None
        self._limit_bytes = spec.upper_limit
        try:
            self._begin()
        except BaseException:
            self.close()
            raise

    def _begin(self) -> None:
        self._known = Books(self._state, self._limit_bytes)
        self._reserved: dict[CopyUp, int] = {}

    @property
    def _books(self) -> Books:
        if self._known.upper is not self._state.upper:
            self._begin()  # another upper, after `reset`
        return self._known

    @property
    def account(self) -> Account:
        """What is taken of the limit."""
        return self._books.account

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
        with self._books.dropping(ino):
            super().release(ino, count)

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
        books = self._books
        if len(data) + _SLACK_BYTES <= books.account.left_bytes or node.protection:
            written = write(node, offset, data)
            books.note(node)
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
        self._books.note(node)

    def copy_range(
        self,
        source: Node,
        source_offset: int,
        target: Node,
        target_offset: int,
        length: int,
    ) -> int:
        self._bring(target)
        if target.cacheable and length + _SLACK_BYTES > self.account.left_bytes:
            data = self.read(source, source_offset, min(length, _COPY_BYTES))
            return self.write(target, target_offset, data)
        copied = super().copy_range(source, source_offset, target, target_offset, length)
        self._books.note(target)
        return copied

    def _last_blocks(self, node: Node) -> LastBlocks:
        fd = contents.writable_fd(self._state, contents.require_regular(node))
        return LastBlocks(self.account, fd, self._books.unit)

    # Attributes.

    def change_attributes(self, node: Node, change: AttributeChange) -> Attributes:
        if not change.changes_nothing:
            self._bring(node, change.need)
        with self._books.touching(node):
            return super().change_attributes(node, change)

    def kill_privileges(self, node: Node, is_in: Callable[[int], bool]) -> bool:
        self._bring(node)
        with self._books.touching(node):
            return super().kill_privileges(node, is_in)

    def set_xattr(self, node: Node, name: bytes, value: bytes, flags: int = 0) -> None:
        self._bring(node, Need.ATTRIBUTES)
        self._books.note(node)
        if self.account.left_bytes > len(value) + _SLACK_BYTES:
            with self._books.touching(node):
                super().set_xattr(node, name, value, flags)
            return
        used, before = self.account.used_bytes, self._value_of(node, name)
        with self._books.touching(node):
            super().set_xattr(node, name, value, flags)
        if self.account.left_bytes < 0 and self.account.used_bytes > used:
            with self._books.touching(node):
                if before is None:
                    super().remove_xattr(node, name)
                else:
                    super().set_xattr(node, name, before)
            raise no_space()

    def _value_of(self, node: Node, name: bytes) -> bytes | None:
        with suppress(OSError):
            return self.get_xattr(node, name)
        return None

    def remove_xattr(self, node: Node, name: bytes) -> None:
        if isinstance(node, FileNode) and node.lower is not None:
            self.get_xattr(node, name)  # where there is none, nothing need be copied up
        self._bring(node, Need.ATTRIBUTES)
        with self._books.touching(node):
            super().remove_xattr(node, name)

    def set_flags(self, node: Node, flags: int) -> None:
        self._bring(node)
        with self._books.touching(node):
            super().set_flags(node, flags)

    # Names.

    def make_node(
        self, parent: Node, name: bytes, mode: int, rdev: int, creator: Creator
    ) -> tuple[Node, Attributes]:
        make = super().make_node
        return self._made(parent, name, lambda: make(parent, name, mode, rdev, creator))

    def make_directory(
        self, parent: Node, name: bytes, mode: int, creator: Creator
    ) -> tuple[Node, Attributes]:
        make = super().make_directory
        return self._made(parent, name, lambda: make(parent, name, mode, creator))

    def make_symlink(
        self, parent: Node, name: bytes, target: bytes, creator: Creator
    ) -> tuple[Node, Attributes]:
        make = super().make_symlink
        return self._made(parent, name, lambda: make(parent, name, target, creator))

    def _made(
        self, parent: Node, name: bytes, make: Callable[[], tuple[Node, Attributes]]
    ) -> tuple[Node, Attributes]:
        """Make something; what turns out to have no room is removed again."""
        self._require_name(parent)
        with self._books.touching(parent):
            made = make()
        self._books.note(made[0])
        if not parent.cacheable or self.account.left_bytes >= 0:
            return made
        if isinstance(made[0], DirectoryNode):
            self.remove_directory(parent, name)
        else:
            self.unlink(parent, name)
        raise no_space()

    def create_temporary(self, parent: Node, mode: int, creator: Creator) -> Node:
        self._require_name(parent)
        with self._books.touching(parent):
            made = super().create_temporary(parent, mode, creator)
        self._books.note(made)
        if parent.cacheable and self.account.left_bytes < 0:
            self.hold(made)
            self.release(made.ino, 1)
            raise no_space()
        return made

    def link(self, node: Node, parent: Node, name: bytes) -> Node:
        self._require_name(parent)
        self._bring(node)
        with self._books.touching(parent):
            return super().link(node, parent, name)

    def unlink(self, parent: Node, name: bytes) -> None:
        self._require_directories(parent)
        with self._books.losing(parent, self.lookup(parent, name)):
            super().unlink(parent, name)

    def remove_directory(self, parent: Node, name: bytes) -> Steps[None] | None:
        self._require_directories(parent)
        node = self.lookup(parent, name)
        if isinstance(node, DirectoryNode) and node.cacheable and self.lists_long(node):
            steps = super().remove_directory(parent, name)
            return None if steps is None else self._removing(parent, node, steps)
        with self._books.losing(parent, node):
            return super().remove_directory(parent, name)

    def _removing(self, parent: Node, node: Node, steps: Steps[None]) -> Steps[None]:
        with self._books.losing(parent, node):
            yield from steps

    def carry_out(self, planned: Rename) -> Steps[None] | None:
        for end in (planned.old, planned.new):
            self._require_directories(end.parent)
        for node in planned.moved:
            self._bring(node, self.need_of_rename)
        if planned.is_long:
            steps = super().carry_out(planned)
            return None if steps is None else self._carrying_out(planned, steps)
        with self._renaming(planned):
            return super().carry_out(planned)

    def _carrying_out(self, planned: Rename, steps: Steps[None]) -> Steps[None]:
        with self._renaming(planned):
            yield from steps

    @contextmanager
    def _renaming(self, planned: Rename) -> Iterator[None]:
        victim = None if planned.flags & RENAME_EXCHANGE else planned.new.node
        if victim is not None and planned.old.node is not None:
            victim = None if victim.ino == planned.old.node.ino else victim
        with (
            self._books.touching(planned.old.parent, *planned.moved),
            self._books.losing(planned.new.parent, victim),
        ):
            yield

    # Copy-up.

    def begin_copy_up(self, node: Node, need: Need = Need.DATA) -> CopyUp | None:
        if not isinstance(node, FileNode) or not _lacks(node, need):
            return super().begin_copy_up(node, need)
        data = self._books.size_of_data(node, self.copy_up_size(node, need))
        needed = data + self._books.size_of_directories(node.parent)
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
            super().commit_copy_up(copy)  # which forgets it
            return
        taken = copy.staged.item.status().st_blocks * BLOCK_BYTES
        try:
            self.account.require(taken + self._books.size_of_directories(node.parent))
        except OSError:
            copy.discard()
            raise
        with self._books.completing(node):
            super().commit_copy_up(copy)

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
            directories = self._books.size_of_directories(node.parent)
            self.account.require(self._books.size_of_special(node) + directories)
            return
        try:
            copy.transfer()
        except BaseException:
            self.abort_copy_up(copy)
            raise
        self.commit_copy_up(copy)

    # Directories.

    def _require_name(self, parent: Node) -> None:
        """Require room for a name more, which may take a block of its directory's."""
        if parent.cacheable:
            books = self._books
            self.account.require(books.size_of_directories(parent) or books.of_directory)
            if self.account.left_bytes < 0:
                raise no_space()

    def _require_directories(self, directory: Node) -> None:
        """Require room for copying a directory up, and those above it that are not there yet."""
        if directory.cacheable:
            self.account.require(self._books.size_of_directories(directory))


def _lacks(node: FileNode, need: Need) -> bool:
    """Whether a change of a file copies something up first."""
    return node.lower is not None or (node.below is not None and need is not Need.ATTRIBUTES)
