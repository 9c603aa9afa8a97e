"""Copying an object of a layer to the upper: all of it, in one step that others see.

A copy is staged in the workdir with data, holes, owner, mode, times and xattrs, synced, and
renamed into place; its directory's times are put back, since nothing visible has changed. The
parents come first. Only `CopyUp.transfer` takes long; it touches nothing but its own two files,
so it may run in a thread.

With `metacopy=on` a change of attributes leaves the data in its layer: the copy is as long as the
file, has no blocks, and says so in an xattr. Its data follows when it is needed (`metacopies`).
"""

from __future__ import annotations

import errno
import math
import os
import stat
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostDirectory, HostFile
from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.union import inodes, metacopies, protection
from overlayfs_py.union.lower_data import open_data
from overlayfs_py.union.nameless import ParkedFile
from overlayfs_py.union.nodes import DataBelow, FileNode
from overlayfs_py.union.opened import keep_open
from overlayfs_py.union.origins import mark_impure, told_origin
from overlayfs_py.union.staging import StagedFile, StagedName
from overlayfs_py.union.steps import NeedsSteps, finished
from overlayfs_py.union.values import Need

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.layers.host import HostObject
    from overlayfs_py.layers.interface import LayerFile, Reader
    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.union.inodes import Metadata
    from overlayfs_py.union.nodes import DirectoryNode, Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.union.upper import Upper

# Directories that a change may copy up by the way: 5 ms.
MOST_AT_ONCE = 32


class CopyUp:
    """One regular file on its way to the upper."""

    def __init__(
        self,
        node: FileNode,
        reader: Reader | None,
        staged: StagedFile,
        size: int,
        metadata: Metadata | None,
        *,
        give_flags: Callable[[HostObject], None],
        sync: bool,
    ) -> None:
        """Take over `reader`, if data is to be copied, and `staged`."""
        self.node = node
        self.staged = staged
        self.size_bytes = size
        self.sync = sync
        self.sync_took_s: float | None = None  # None: there was none
        self.origin: bytes | None = None  # what it is a copy of, if it tells
        self._reader = reader
        self._metadata = metadata
        self._give_flags = give_flags

    @property
    def is_metacopy(self) -> bool:
        """Whether the data stays behind."""
        return self._reader is None

    def transfer(self) -> None:
        """Copy everything, and to the disk, where the layer's was safe. Blocks, maybe for long.

        What is named later is complete then: one sync brings data and metadata to the disk, as
        the kernel's (fs/overlayfs/copy_up.c, `metadata_fsync`).
        """
        copies_data = self.size_bytes > 0 and self._reader is not None
        if copies_data and self._reader is not None:
            self._reader.copy_to(self.staged.fd, self.size_bytes, syncs_soon=self.sync)
        if self._metadata is not None:
            self._give_flags(self.staged.item)
            inodes.give_metadata(self.staged.item, self._metadata)
        if copies_data and self.sync:
            begun = time.monotonic()
            os.fsync(self.staged.fd)
            self.sync_took_s = time.monotonic() - begun

    def undress(self, place: HostFile) -> None:
        """Let it be given the metadata of `place`: take back the xattrs that are none of that.

        The others stay to be written over: nobody may remove a label of SELinux's.
        """
        if self._metadata is None:
            return
        item = self.staged.item
        if item.tree.override is None:
            inodes.set_mode(item, stat.S_IRUSR | stat.S_IWUSR)  # see `inodes.give_metadata`
        for name, _ in self._metadata.xattrs:
            if find_xattr(item, name) is not None and find_xattr(place, name) is None:
                inodes.remove_xattr(item, name)

    def discard(self) -> None:
        """Close both files; the copy is gone unless it was put in place."""
        if self._reader is not None:
            self._reader.close()
        self.staged.discard()


def size_of(state: State, node: Node, need: Need) -> int:
    """Return how many bytes a change of a node would first copy; 0 for one that is writable."""
    if not isinstance(node, FileNode) or need is Need.EMPTY or node.type != stat.S_IFREG:
        return 0
    if node.lower is None and (node.below is None or need is Need.ATTRIBUTES):
        return 0
    if need is Need.ATTRIBUTES and metacopies.leaves_data(state, node):
        return 0
    if node.lower is not None:
        return state.attributes_below(node.lower).size
    return node.place.attributes().size


def begin(state: State, node: FileNode, need: Need) -> CopyUp | None:
    """Stage a regular file's copy, still empty; None if nothing is needed."""
    if node.type != stat.S_IFREG or _has(node, need):
        return None
    upper = state.require_upper()
    _require_few_above(state, node)
    is_metacopy = need is Need.ATTRIBUTES and metacopies.leaves_data(state, node)
    if node.lower is not None:
        found = state.attributes_below(node.lower)
        metadata = inodes.metadata_of(state.upper_ids, node.lower, found)
    else:
        # The metacopy's own may change until its data is there: see `metacopies.complete`.
        found, metadata = node.writable.attributes(), None
    size = 0 if need is Need.EMPTY or is_metacopy else found.size
    reader = None if is_metacopy else open_data(node)
    copy = None
    try:
        flags = _flags_below(state, node, reader)
        give = partial(protection.give_flags, state, flags=flags)
        staged = StagedFile(upper)
        copy = CopyUp(
            node, reader, staged, size, metadata, give_flags=give, sync=not state.spec.volatile
        )
        if node.lower is not None:
            # Before the mode, which counts for `user.` xattrs.
            copy.origin = _mark_origin(state, node.lower, found, staged.item)
        if is_metacopy:
            metacopies.make(upper, staged.item, found.size)
    except OSError:
        if copy is not None:
            copy.discard()
        elif reader is not None:
            reader.close()
        raise
    return copy


def _flags_below(state: State, node: FileNode, reader: Reader | None) -> int:
    """The flags that the copy of a layer's file gets; none of others."""
    if node.lower is None:
        return 0
    # What is open for its data is the very inode, if that has its data.
    fd = reader.fd if isinstance(reader, DescriptorReader) and node.below is None else None
    flags = protection.flags_of(state, node.lower, node.type, fd)
    node.protection = flags & protection.PROTECTING
    return flags


def _has(node: FileNode, need: Need) -> bool:
    """Whether what is in the upper is enough."""
    return node.lower is None and (node.below is None or need is Need.ATTRIBUTES)


def commit(state: State, copy: CopyUp) -> None:
    """Put a transferred copy in place, unless another one is there already."""
    node = copy.node
    if copy.sync_took_s is not None:
        state.last_sync_s = copy.sync_took_s
    try:
        if node.lower is not None:
            _install_file(state, copy)
        elif node.below is not None and not copy.is_metacopy:
            _complete(state, copy)
    finally:
        copy.discard()  # what is left of it


def _complete(state: State, copy: CopyUp) -> None:
    """Give data to a metacopy, which may have become one, and have changed, during a transfer."""
    copy.undress(copy.node.writable)
    upper, name = state.require_upper(), copy.staged.name_on_stage()
    try:
        metacopies.complete(state, copy.node, name)
    except OSError:
        upper.discard(name)
        raise


def copy_up_file(state: State, node: FileNode, need: Need) -> None:
    """Let what is needed of anything but a directory be in the upper."""
    if _has(node, need):
        return
    copy = begin(state, node, need)
    if copy is None:
        _copy_up_special(state, node)
        return
    try:
        copy.transfer()
    except OSError:
        copy.discard()
        raise
    commit(state, copy)


def _copy_up_special(state: State, node: FileNode) -> None:
    upper = state.require_upper()
    _require_few_above(state, node)
    lower = node.lower
    assert lower is not None
    name = upper.new_name()
    found = state.attributes_below(lower)
    if node.type == stat.S_IFLNK:
        os.symlink(lower.read_link(), name, dir_fd=upper.stage.fd())
    else:
        make_special(upper, name, node.type, found.rdev)
    staged = StagedName(upper, name)
    try:
        origin = _mark_origin(state, lower, found, staged.item)
        inodes.give_metadata(staged.item, inodes.metadata_of(state.upper_ids, lower, found))
        _install(state, node, staged, origin)
    except OSError:
        staged.discard()
        raise


def make_special(upper: Upper, staged: bytes, file_type: int, rdev: int) -> None:
    """Stage a FIFO, socket or device; in an upper with an override xattr a file stands for it."""
    if upper.tree.override is not None:
        file_type = stat.S_IFREG
    device = rdev if file_type in (stat.S_IFCHR, stat.S_IFBLK) else 0
    os.mknod(staged, file_type | 0o600, device, dir_fd=upper.stage.fd())


def _install_file(state: State, copy: CopyUp) -> None:
    node, staged = copy.node, copy.staged
    below = None
    if copy.is_metacopy:
        below = node.below or DataBelow(node.data, None, state.attributes_below(node.data).blocks)
        below = below._replace(redirect=None)
    _install(state, node, staged, copy.origin)
    node.below = below
    # What protects a file is asked when it is opened.
    if node.held is None and not node.protection:
        keep_open(state, node, staged.item.tree, staged.take_fd())


def _mark_origin(
    state: State, lower: LayerFile, found: Attributes, item: HostObject
) -> bytes | None:
    """Let a copy say what it is of, and return that; None where there is nothing to remember.

    One of several names that are all deleted comes back under none of them.
    """
    upper = state.require_upper()
    origin = lower.origin().to_bytes()
    if found.nlink == 1 and isinstance(lower, HostFile) and lower.tree in state.kept.trees:
        # A copy of a copy. One of several names is found by what it lies in, as the kernel does.
        origin = told_origin(lower, state) or origin
    return origin if upper.set_origin(item, origin) or found.nlink > 1 else None


def _install(
    state: State, node: FileNode, staged: StagedFile | StagedName, origin: bytes | None
) -> None:
    upper, lower = state.require_upper(), node.lower
    assert lower is not None
    number = upper.tree.ino_of(staged.item.status())
    in_layer = state.attributes_below(lower).nlink
    removed = state.removed_links.get(node.ino)
    links = in_layer - (0 if removed is None else removed.links)
    entry = held = None
    if in_layer > 1 and links > 0 and origin is not None:
        entry = upper.index.add(staged, origin, links=links, layer_links=in_layer)
    elif node.parent is None:
        held = staged.hold(state.nameless)
    else:
        parent = copy_up_directory(state, node.parent)
        mark_impure(state, node.parent)
        staged.place_unseen(parent, node.name)
        state.on_unseen_change(node.parent)
    state.readers.drop(node)
    node.lower = node.below = None
    node.own, node.is_copy = number, origin is not None
    state.removed_links.pop(node.ino, None)
    state.table.origins[number] = node.ino
    if held is not None:
        state.keep_removed(node, held)
    if entry is not None:
        state.keep_index(node, entry)
        if node.parent is not None:
            link_up(state, node, node.parent, node.name)


def copy_up_directory(state: State, node: DirectoryNode) -> HostDirectory:
    """Let a directory, without what is in it, and all above it be in the upper; returns it there.

    Raises:
        NeedsSteps: they are many, and others would wait.
    """
    _require_few(state, node)
    finished(_copying_up(state, node))
    result = node.require_upper()
    if result.tree.read_only:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), node.name)
    return result


@contextmanager
def all_at_once(state: State) -> Iterator[None]:
    """Ask for no steps while inside."""
    before, state.most_at_once = state.most_at_once, math.inf
    try:
        yield
    finally:
        state.most_at_once = before


def _require_few_above(state: State, node: FileNode) -> None:
    """Before anything is begun: let the directories above a file be in the upper in no time."""
    if node.parent is not None:
        _require_few(state, node.parent)


def _require_few(state: State, node: DirectoryNode) -> None:
    if node.upper is None and len(_missing(node)) > state.most_at_once:
        raise NeedsSteps(_copying_up(state, node))


def _missing(node: DirectoryNode) -> list[DirectoryNode]:
    """A directory and those above it that are not in the upper.

    Iterates instead of recursing: trees may be deep.
    """
    missing = []
    here: DirectoryNode | None = node
    while here is not None and here.upper is None:
        missing.append(here)
        here = here.parent
    return missing


def _copying_up(state: State, node: DirectoryNode) -> Steps[None]:
    while missing := _missing(node):
        upper = state.require_upper()
        for directory in reversed(missing):
            if directory.parent is not None and directory.parent.upper is None:
                break  # it has been moved since
            if directory.upper is None:
                _copy_up_one(state, upper, directory)
                yield


def _copy_up_one(state: State, upper: Upper, node: DirectoryNode) -> None:
    if node.parent is None or node.removed:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), node.name)
    staged = upper.new_name()
    os.mkdir(staged, 0o700, dir_fd=upper.stage.fd())
    try:
        item = HostDirectory(upper.tree, upper.stage, staged)
        upper.set_origin(item, node.top.origin().to_bytes())
        flags = protection.flags_of(state, node.top, stat.S_IFDIR)
        protection.give_flags(state, item, flags)
        inodes.copy_metadata(state.upper_ids, node.top, item)
        mark_impure(state, node.parent)
        upper.place_unseen(staged, node.parent.require_upper(), node.name)
    except OSError:
        upper.discard(staged)
        raise
    state.on_unseen_change(node.parent)
    node.upper = HostDirectory(upper.tree, node.parent.require_upper(), node.name)
    state.table.origins[upper.tree.ino_of(node.upper.status())] = node.ino


def link_up(state: State, node: FileNode, parent: DirectoryNode, name: bytes) -> None:
    """Let a name that shows from below be one more link of the file that was copied up."""
    upper, entry = state.require_upper(), node.index
    assert entry is not None
    with all_at_once(state):  # the file itself is in the upper by now
        directory = copy_up_directory(state, parent)
    mark_impure(state, parent)
    staged = upper.new_name()
    entry.begin_link_up()
    link(entry, upper.stage, staged)
    try:
        upper.place_unseen(staged, directory, name)
    except OSError:
        upper.discard(staged)
        raise
    state.on_unseen_change(parent)
    entry.end_link_up()
    state.keep_index(node, entry)
    state.table.add_name(node, parent, name)


def link(file: HostFile, directory: HostDirectory, name: bytes) -> None:
    """Give a writable file one more name; ENOENT where it has lost its last."""
    if isinstance(file, ParkedFile) and not file.may_be_linked:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    path, dir_fd, follow = file.reach()
    assert isinstance(path, bytes)
    os.link(path, name, src_dir_fd=dir_fd, dst_dir_fd=directory.fd(), follow_symlinks=follow)
