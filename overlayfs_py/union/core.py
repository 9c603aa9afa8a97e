"""The union: one merged, writable view of layers, an upper and volumes. The drivers' only door.

Plan: synchronous and free of FUSE. Because no call ever waits for another, each is atomic to
every other task, and nothing here is locked. Every name is one component, in bytes.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.union import (
    contents,
    copy_up,
    creation,
    extents,
    listing,
    metadata,
    removal,
    renames,
    telling,
    volumes,
)
from overlayfs_py.union.copy_up import MOST_AT_ONCE, CopyUp
from overlayfs_py.union.lookup import look, lookup
from overlayfs_py.union.lowers import lists_long
from overlayfs_py.union.nodes import DirectoryNode, FileNode, Node
from overlayfs_py.union.state import State
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Sequence
    from typing import Self

    from overlayfs_py.union.acting import Caller
    from overlayfs_py.union.lookup import Seen
    from overlayfs_py.union.renames import Rename
    from overlayfs_py.union.resetting import Changed
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.union.values import AttributeChange, Attributes, Creator, StackSpec

    Paths = Sequence[bytes]

__all__ = ["CopyUp", "Need", "Node", "Union"]


class SlowVolume(NamedTuple):
    """A volume that may keep waiting who asks: a union of its own, for whoever holds the lock.

    Nodes of `indexes` (`tree_index_of` of their numbers) are its own. Its root has the number
    that the union around it shows where the volume is attached.
    """

    union: Union
    indexes: frozenset[int]
    lock: threading.Lock


class Union:
    """A merged view, from its opening to `close`. Every call may raise OSError.

    A changing call copies up by itself what still lies in a layer; `begin_copy_up` lets a driver
    do the long part of that elsewhere before.
    """

    def __init__(self, spec: StackSpec) -> None:
        """Open all parts and attach the volumes.

        The process's umask is 0 until `close`: modes come in full with every creation.

        Raises:
            OSError: naming the layer, upper, workdir or volume that cannot be used; EBUSY where
                another union uses the upper or the workdir.
        """
        self._state = State(spec)
        try:
            volumes.attach_volumes(self._state)
        except BaseException:
            self._state.close()
            raise

    def close(self) -> None:
        """Close everything; the union cannot be used any more."""
        self._state.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def root(self) -> Node:
        """The root directory's node, held for the life of the union."""
        return self._state.root

    @property
    def spec(self) -> StackSpec:
        """What it was opened from."""
        return self._state.spec

    @property
    def read_only(self) -> bool:
        """Whether only volumes can be written."""
        return self._state.read_only

    @property
    def last_sync_s(self) -> float:
        """How long the last copy-up waited for the disk: 0 if none does, inf before the first."""
        return self._state.last_sync_s

    @property
    def has_volumes(self) -> bool:
        """Whether parts of the union may be changed by others."""
        return bool(self._state.volumes or self._state.slow)

    def slow_volumes(self) -> list[SlowVolume]:
        """Return the volumes that are not answered for here: see `SlowVolume`."""
        return [
            SlowVolume(
                Union._of(slow),
                frozenset(index for index, owner in self._state.slow.items() if owner is slow),
                slow.lock,
            )
            for slow in dict.fromkeys(self._state.slow.values())
        ]

    def attached_at(self, parent: Node | None, name: bytes) -> int:
        """The number of the volume that is attached under a name; 0 for none."""
        attached = parent.attached.get(name) if isinstance(parent, DirectoryNode) else None
        return 0 if attached is None else attached.ino

    @classmethod
    def _of(cls, state: State) -> Self:
        union = cls.__new__(cls)
        union._state = state  # noqa: SLF001 - the same class
        return union

    def note_caller(self, caller: Caller | None) -> None:
        """Change volumes on behalf of a caller from now on; None: on our own."""
        self._state.caller = caller

    def reset(
        self, upper: bytes, work: bytes, kept: Paths = (), layers: Paths | None = None
    ) -> Changed:
        """Go on with an empty upper, and other uppers of before; returns what is to be forgotten.

        Nodes of what had its inode in the old ones are gone: ESTALE. What is at the paths in `kept`
        is there afterwards, too. No copy-up, read, sync or listing may be under way.

        Raises:
            OSError: the new upper or a layer cannot be used; nothing has changed then.
        """
        from overlayfs_py.union import resetting  # for the mounts that can be asked for it

        return resetting.reset(self._state, upper, work, kept, layers)

    def snapshot(self, upper: bytes, work: bytes, name: bytes) -> list[Node]:
        """Make the upper a layer called `name`; returns all nodes whose attributes have changed."""
        from overlayfs_py.union import snapshots

        return snapshots.take(self._state, upper, work, name)

    def completing_links(self) -> Steps[None]:
        """Do, in steps, what of `snapshot` may take long."""
        from overlayfs_py.union.snapshots import completing_links

        return completing_links(self._state)

    def is_referred_to(self, ino: int) -> bool:
        """Whether somebody may refer to a number, be it to what `reset` has let go."""
        return self._state.table.is_referred_to(ino)

    def tell_unseen_changes(self, listener: Callable[[Node], None]) -> None:
        """Have `listener` called with every directory that a copy-up gives another st_ctime."""
        self._state.on_unseen_change = listener

    def put_off_long_changes(self) -> None:
        """From now on let a change raise NeedsSteps where it has to copy many directories up."""
        self._state.most_at_once = MOST_AT_ONCE

    def tell_reads(self, listener: Callable[[Node], None]) -> None:
        """Have `listener` called with a file when its data is opened: once, or now and then."""
        self._state.on_read = listener

    # Nodes.

    def node(self, ino: int) -> Node:
        """Return a held node by its inode number; ESTALE if nobody holds it."""
        return self._state.table.require(ino)

    @property
    def finder(self) -> Callable[[int], Node]:
        """What does the same as `node`, for who asks for one with each request."""
        return self._state.table.require

    def hold(self, node: Node) -> None:
        """Count one more reference: the node stays known by its number, removed or not."""
        self._state.table.hold(node)

    def release(self, ino: int, count: int) -> None:
        """Count `count` references less; the last one lets the node go."""
        self._state.table.release(ino, count)

    def known_nodes(self) -> int:
        """How many nodes are kept."""
        return len(self._state.table)

    def lookup(self, parent: Node, name: bytes) -> Node | None:
        """Return what a name shows; the caller holds it if it is to stay known."""
        return lookup(self._state, _directory(parent), name)

    def look(self, parent: Node, name: bytes) -> tuple[Node, Attributes] | None:
        """Return what a name shows together with its attributes: `lookup`, then `attributes`."""
        seen = look(self._state, _directory(parent), name)
        return None if seen is None else self._shown(seen)

    def tell(
        self, node: Node, names: Sequence[bytes], *, hold: bool
    ) -> Iterator[Attributes | None]:
        """Yield what `look` would tell of several names, held as by `hold` if so; None: ask it."""
        return telling.tell(self._state, _directory(node), names, hold=hold)

    def _shown(self, seen: Seen) -> tuple[Node, Attributes]:
        return seen.node, metadata.as_shown(self._state, seen.node, seen.attributes)

    def parent(self, node: Node) -> Node:
        """Return the directory above a directory; the root's is the root."""
        return node.parent or self._state.root

    def copies_elsewhere(self) -> set[int]:
        """The numbers of files of the topmost layer that names of other layers may show, too.

        Where that is an upper, and the union's specification names its workdir.
        """
        copies = self._state.copies
        return set() if copies is None else copies.shown_elsewhere()

    def names(self, node: Node) -> list[bytes]:
        """Return a directory's names without "." and "..", each once."""
        return listing.names(_directory(node))

    def lists_long(self, node: Node) -> bool:
        """Whether `names` takes so long that `naming` should do it."""
        return lists_long(_directory(node))

    def naming(self, node: Node) -> Steps[dict[bytes, None]]:
        """Return what `names` does, in steps: anything may be done between two of them."""
        return listing.naming(_directory(node), apart=True)

    # Attributes.

    def attributes(self, node: Node) -> Attributes:
        """Return what stat(2) shows."""
        return metadata.attributes(self._state, node)

    def change_attributes(self, node: Node, change: AttributeChange) -> Attributes:
        """Set what `change` names; returns all attributes as they are then."""
        return metadata.change_attributes(self._state, node, change)

    def kill_privileges(self, node: Node, is_in: Callable[[int], bool]) -> bool:
        """Clear set-user-ID and set-group-ID, as a write by an unprivileged process does.

        `is_in` says whether he is in a group. Returns whether there was something to clear.
        """
        return contents.kill_privileges(self._state, node, is_in)

    def list_xattrs(self, node: Node) -> list[bytes]:
        """Return the names of a node's xattrs."""
        return metadata.list_xattrs(self._state, node)

    def lacks_xattr(self, node: Node, name: bytes) -> bool:
        """Whether there is surely no such xattr; where it is not sure `get_xattr` tells."""
        return metadata.lacks_xattr(self._state, node, name)

    def get_xattr(self, node: Node, name: bytes) -> bytes:
        """Return an xattr's value; ENODATA if there is none."""
        return metadata.get_xattr(self._state, node, name)

    def set_xattr(self, node: Node, name: bytes, value: bytes, flags: int = 0) -> None:
        """Set an xattr; `flags` as of setxattr(2)."""
        metadata.set_xattr(self._state, node, name, value, flags)

    def remove_xattr(self, node: Node, name: bytes) -> None:
        """Remove an xattr; ENODATA if there is none."""
        metadata.remove_xattr(self._state, node, name)

    def statistics(self, node: Node) -> os.statvfs_result:
        """Return the space of the filesystem that writes at a node go to.

        That is a volume's own, or the upper's; of a union without one, the topmost layer's.
        """
        directory = node if isinstance(node, DirectoryNode) else node.parent
        if node.cacheable or directory is None:
            return os.fstatvfs(self._state.root_fd)
        return os.fstatvfs(directory.require_upper().fd())

    # Data.

    def read_link(self, node: Node) -> bytes:
        """Return a symbolic link's target."""
        if not isinstance(node, FileNode) or node.type != stat.S_IFLNK:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), node.name)
        return node.place.read_link()

    def open_file(self, node: Node, *, write: bool) -> None:
        """Check that a regular file can be opened; for writing, let it be in the upper."""
        contents.open_file(self._state, node, write=write)

    def read(self, node: Node, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset` on, fewer only at the end of the file."""
        return contents.read(self._state, node, offset, size)

    def begin_read(self, node: Node, offset: int, size: int) -> bytes | Callable[[], bytes]:
        """Return what `read` does, or what reads it: to be called once, in any thread."""
        return contents.begin_read(self._state, node, offset, size)

    def begin_read_into(
        self, node: Node, offset: int, room: memoryview
    ) -> bytes | memoryview | Callable[[], bytes]:
        """Return what `begin_read` does for as much as `room` holds, maybe in `room`."""
        return contents.begin_read_into(self._state, node, offset, room)

    def write(self, node: Node, offset: int, data: bytes | memoryview) -> int:
        """Write at `offset`; returns how many bytes, fewer than given only on a full disk."""
        return contents.write(self._state, node, offset, data)

    def append(self, node: Node, data: bytes | memoryview) -> int:
        """Write at the end of a file that others may append to, too; returns how many bytes."""
        return contents.append(self._state, node, data)

    def write_back(self, node: Node, offset: int, data: bytes | memoryview) -> int:
        """Write what a user has written some time ago: as `write`, but for the file's times."""
        return contents.write_back(self._state, node, offset, data)

    def open_backing(self, node: Node) -> int | None:
        """Open the host file that holds a node's data, for others to read and write it.

        The caller owns the descriptor. None where it must not be handed out: a layer's file that
        a later write would copy up, or one that is no host file.
        """
        return contents.open_backing(self._state, node)

    def sync(self, node: Node, *, data_only: bool) -> Callable[[], None]:
        """Return the blocking part of an fsync, to be called once, in any thread."""
        return contents.sync(self._state, node, data_only=data_only)

    def allocate(self, node: Node, mode: int, offset: int, length: int) -> None:
        """Allocate, punch or zero a range; `mode` as of fallocate(2)."""
        extents.allocate(self._state, node, mode, offset, length)

    def seek(self, node: Node, offset: int, whence: int) -> int:
        """Return where the next data or hole begins; ENXIO where there is none."""
        return extents.seek(self._state, node, offset, whence)

    def copy_range(
        self,
        source: Node,
        source_offset: int,
        target: Node,
        target_offset: int,
        length: int,
    ) -> int:
        """Copy between two files, sharing blocks where possible; returns how many bytes."""
        return extents.copy_range(self._state, source, source_offset, target, target_offset, length)

    def birth_time_ns(self, node: Node) -> int | None:
        """Return when the object was made on its filesystem, None if that is unknown."""
        return metadata.birth_time_ns(self._state, node)

    def get_flags(self, node: Node) -> int:
        """Return an inode's flags, as lsattr(1) shows them."""
        return metadata.get_flags(self._state, node)

    def set_flags(self, node: Node, flags: int) -> None:
        """Set an inode's flags, as chattr(1) does."""
        metadata.set_flags(self._state, node, flags)

    # Names. What makes an object in a place tells its attributes as well.

    def create_file(
        self, parent: Node, name: bytes, mode: int, creator: Creator
    ) -> tuple[Node, Attributes]:
        """Create an empty regular file; EEXIST where the name is taken."""
        return self.make_node(parent, name, stat.S_IFREG | stat.S_IMODE(mode), 0, creator)

    def create_temporary(self, parent: Node, mode: int, creator: Creator) -> Node:
        """Create a regular file without a name, for its holder; `link` can give it one."""
        mode = stat.S_IFREG | stat.S_IMODE(mode)
        return creation.create_temporary(self._state, _directory(parent), mode, creator)

    def make_node(
        self, parent: Node, name: bytes, mode: int, rdev: int, creator: Creator
    ) -> tuple[Node, Attributes]:
        """Create a file, FIFO, socket or device, as the type in `mode` says."""
        if stat.S_IFMT(mode) == 0:
            mode |= stat.S_IFREG
        return self._shown(
            creation.create(self._state, _directory(parent), name, mode, creator, rdev=rdev)
        )

    def make_directory(
        self, parent: Node, name: bytes, mode: int, creator: Creator
    ) -> tuple[Node, Attributes]:
        """Create a directory."""
        mode = stat.S_IFDIR | stat.S_IMODE(mode)
        return self._shown(creation.create(self._state, _directory(parent), name, mode, creator))

    def make_symlink(
        self, parent: Node, name: bytes, target: bytes, creator: Creator
    ) -> tuple[Node, Attributes]:
        """Create a symbolic link."""
        mode = stat.S_IFLNK | 0o777
        return self._shown(
            creation.create(self._state, _directory(parent), name, mode, creator, target=target)
        )

    def link(self, node: Node, parent: Node, name: bytes) -> Node:
        """Give a file one more name; EPERM for directories."""
        if not isinstance(node, FileNode):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)
        return creation.make_link(self._state, node, _directory(parent), name)

    def unlink(self, parent: Node, name: bytes) -> None:
        """Delete a name that is not a directory's; who holds the node may go on using it."""
        removal.unlink(self._state, _directory(parent), name)

    def remove_directory(self, parent: Node, name: bytes) -> Steps[None] | None:
        """Delete an empty directory; returns steps that do so where that takes long."""
        return removal.remove_directory(self._state, _directory(parent), name)

    def rename(
        self, old_parent: Node, old_name: bytes, new_parent: Node, new_name: bytes, flags: int
    ) -> Steps[None] | None:
        """Rename; `flags` is 0, RENAME_NOREPLACE or RENAME_EXCHANGE as of renameat2(2).

        Returns steps that do so where that takes long.
        """
        return self.carry_out(self.plan_rename(old_parent, old_name, new_parent, new_name, flags))

    def plan_rename(
        self, old_parent: Node, old_name: bytes, new_parent: Node, new_name: bytes, flags: int
    ) -> Rename:
        """Raise what `rename` would, short of what takes long or goes wrong on the disk."""
        return renames.plan(
            self._state,
            _directory(old_parent),
            old_name,
            _directory(new_parent),
            new_name,
            flags,
        )

    def carry_out(self, planned: Rename) -> Steps[None] | None:
        """Rename as was just planned; with anything else in between `rename` it anew."""
        return renames.carry_out(self._state, planned)

    # Copy-up in three steps.

    def copy_up_size(self, node: Node, need: Need = Need.DATA) -> int:
        """Return how many bytes a change of a node would first copy; 0 for one that is writable."""
        return copy_up.size_of(self._state, node, need)

    def copy_up_pieces(self, node: Node) -> int:
        """Return in how many pieces that lies at most; 1 where that makes no difference."""
        lower = node.lower if isinstance(node, FileNode) else None
        return 1 if lower is None else lower.pieces()

    @property
    def need_of_rename(self) -> Need:
        """What a rename needs of a file: where redirects are written, data may stay behind."""
        return renames.need(self._state)

    def begin_copy_up(self, node: Node, need: Need = Need.DATA) -> CopyUp | None:
        """Stage the copy of a regular file that lies in a layer; None where none is needed.

        `CopyUp.transfer` may run in a thread; then one of the two calls below ends it.
        """
        if not isinstance(node, FileNode):
            return None
        return copy_up.begin(self._state, node, need)

    def commit_copy_up(self, copy: CopyUp) -> None:
        """Put a transferred copy in place; if the node has got there meanwhile, forget the copy."""
        copy_up.commit(self._state, copy)

    def abort_copy_up(self, copy: CopyUp) -> None:
        """Forget a copy."""
        copy.discard()


def _directory(node: Node) -> DirectoryNode:
    if not isinstance(node, DirectoryNode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), node.name)
    return node
