"""What a mounted union consists of, opened from its specification."""

from __future__ import annotations

import errno
import math
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from overlayfs_py.layers.descriptor_budget import cached_each, left_for_removed, require_room
from overlayfs_py.layers.descriptors import DescriptorCache
from overlayfs_py.layers.host import HostDirectory, HostTree
from overlayfs_py.layers.marks import NO_MARK_NAMES, TRUSTED_MARKS, USER_MARKS
from overlayfs_py.layers.numbering import Numbering
from overlayfs_py.layers.opening import open_directory_layer
from overlayfs_py.layers.override_stat import OVERRIDE_XATTRS
from overlayfs_py.layers.ownership import is_ours_alone
from overlayfs_py.layers.root import clone_around, open_volume_root
from overlayfs_py.layers.skeleton import SkeletonDirectory
from overlayfs_py.layers.volume import VolumeTree
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls.credentials import has_trusted_xattrs, in_initial_user_namespace
from overlayfs_py.union import inodes, volume_nodes
from overlayfs_py.union.index import Index
from overlayfs_py.union.kept_layers import KeptLayers
from overlayfs_py.union.nameless import Nameless, ParkedFile
from overlayfs_py.union.nodes import Backing, DirectoryNode, FileNode, Node
from overlayfs_py.union.overlaps import about, require_apart
from overlayfs_py.union.table import NodeTable
from overlayfs_py.union.umask import UMASK
from overlayfs_py.union.upper import Upper
from overlayfs_py.union.values import path_of
from overlayfs_py.union.volume_nodes import VolumeFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from overlayfs_py.layers.ids import IdMap
    from overlayfs_py.layers.interface import Layer, LayerDirectory, LayerFile, Reader
    from overlayfs_py.layers.marks import MarkNames
    from overlayfs_py.layers.root import MountClone
    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.union.acting import Caller
    from overlayfs_py.union.index import IndexEntry
    from overlayfs_py.union.nameless import Removed
    from overlayfs_py.union.opened import OpenMetacopy
    from overlayfs_py.union.slow_volumes import SlowState
    from overlayfs_py.union.values import StackSpec

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class RemovedLinks(NamedTuple):
    """How many names of a layer's file are deleted in this mount, and when the last one was."""

    links: int
    ctime_ns: int


class NextUpper(NamedTuple):
    """An upper that a union is to go on with."""

    spec: StackSpec
    upper: Upper
    undo: ExitStack  # closes it


class State:
    """The layers, the upper, the volumes and the nodes of one union."""

    def __init__(self, spec: StackSpec) -> None:
        """Open everything; nothing stays open where one part fails."""
        self._begin(spec)
        with ExitStack() as undo:
            self._undo = undo
            undo.callback(self.directories.clear)
            undo.callback(self.readers.clear)
            UMASK.clear()
            undo.callback(UMASK.restore)
            if not spec.lower and spec.upper is None:
                raise OSError(errno.EINVAL, "a union needs at least one layer")
            roots = len(spec.lower) + len(spec.data_only) + len(spec.volumes)
            require_room(roots, writable=spec.upper is not None)
            require_apart(spec)
            undo.callback(self._close_clone)
            self._upper_undo = ExitStack()
            undo.callback(lambda: self._upper_undo.close())
            undo.callback(self.kept.close)
            self.upper, self._upper_undo = self._open_upper(spec)
            self.mark_names = self._choose_marks()
            # By position, topmost first.
            self.roots: dict[int, LayerDirectory] = dict(enumerate(self._open_layers()))
            self.bottom = len(self.roots) - 1
            self.copies = self._open_copies(spec)
            self.data_roots = self._open_data_layers()
            self.numbering.close()
            # Whether a file's data may be elsewhere than its attributes.
            self.follows_metacopies = spec.metacopy or bool(self.data_roots)
            self.root = self._open_root()
            self.name_max = os.fstatvfs(self.root_fd).f_namemax
            self.table = NodeTable(self.root, self._drop)
            self._limit_caches()
            self._undo = undo.pop_all()

    def _begin(self, spec: StackSpec) -> None:
        self.spec = spec
        self.directories: DescriptorCache[int] = DescriptorCache(0, os.close)
        self.readers: DescriptorCache[Reader | OpenMetacopy] = DescriptorCache(
            0, lambda reader: reader.close()
        )
        self.nameless = Nameless()
        self.caller: Caller | None = None  # on whose behalf volumes are changed; None: ourselves
        self.volumes: list[HostTree] = []
        # By the index of a tree: the states of slow volumes, which others than us must ask.
        self.slow: dict[int, SlowState] = {}
        self.removed_links: dict[int, RemovedLinks] = {}  # by inode number
        self.layers: list[Layer] = []  # but for those in `kept`
        self.kept = KeptLayers(spec.kept)
        self._clone: MountClone | None = None  # in which all uppers are opened
        # Told of every directory whose st_ctime has changed though nobody asked for a change of it.
        self.on_unseen_change: Callable[[Node], None] = _ignore
        # Told of every file that is opened for its data.
        self.on_read: Callable[[Node], None] = _ignore
        self.numbering = Numbering()
        self.most_at_once = math.inf  # directories that a change may copy up; more need steps
        # How long the last copy waited for the disk; the first may take any time.
        self.last_sync_s = 0.0 if spec.volatile else math.inf
        self._stated: tuple[LayerFile, Attributes] | None = None

    def _limit_caches(self) -> None:
        limit = cached_each() - len(self.spec.volumes) // 2  # which are opened after this
        self.directories.limit = self.readers.limit = limit
        self.nameless.most = left_for_removed() - len(self.spec.volumes)

    def close(self) -> None:
        """Close everything, removed files that are still held among it."""
        for slow in set(self.slow.values()):
            slow.close()
        for node in self.table:
            self._drop(node)
        self._undo.close()

    @property
    def root_fd(self) -> int:
        """The descriptor of the filesystem that the union is said to lie on."""
        return self._first_fd if self.upper is None else self.upper.tree.root_fd()

    @property
    def read_only(self) -> bool:
        """Whether nothing but volumes can be written."""
        return self.upper is None

    @property
    def upper_ids(self) -> IdMap:
        """How owners are written to the upper."""
        return self.spec.ids

    def require_upper(self) -> Upper:
        """The upper; EROFS where there is none."""
        if self.upper is None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return self.upper

    @property
    def above(self) -> int:
        """Where the upper is: the position above that of the topmost layer."""
        return self.kept.top - 1

    @property
    def all_layers(self) -> list[Layer]:
        """Every layer, topmost first."""
        return [*self.kept.trees, *self.layers]

    # Opening.

    def _open_upper(self, spec: StackSpec) -> tuple[Upper | None, ExitStack]:
        """Open the upper of a specification; returns what closes it, too."""
        if spec.upper is None:
            return None, ExitStack()
        with ExitStack() as undo:
            return self._open_some_upper(spec, undo), undo.pop_all()

    def _open_some_upper(self, spec: StackSpec, undo: ExitStack) -> Upper:
        assert spec.upper is not None
        if spec.work is None:
            raise OSError(errno.EINVAL, "an upperdir needs a workdir on the same filesystem")
        upper_fd, work_fd = self._open_upper_directories(spec.upper, spec.work)
        override = OVERRIDE_XATTRS.get(spec.xattr_permissions)
        filesystem = self.numbering.filesystem(upper_fd, os.fstat(upper_fd).st_dev)
        tree = HostTree(
            filesystem,
            upper_fd,
            spec.ids,
            self.directories,
            override=override,
            read_only=False,
            keeps_atime=spec.noatime,
        )
        undo.callback(tree.close)
        try:
            with about("workdir", spec.work):
                upper = Upper(tree, work_fd, spec)
        except OSError:
            os.close(work_fd)
            raise
        undo.callback(upper.close_workdir)
        if override is not None and find_xattr(tree.root, override) is None:
            # Its root says how to read it, should it become a layer.
            real = tree.root.status()
            inodes.store_override(tree.root, real.st_uid, real.st_gid, real.st_mode, 0)
        return upper

    def _open_upper_directories(self, upper: bytes, work: bytes) -> list[int]:
        opened = [_open_directory("upperdir", upper)]
        try:
            opened.append(_open_directory("workdir", work))
        except OSError:
            os.close(opened[0])
            raise
        paths = [upper, work]
        if self._clone is not None:
            return self._clone.reopen(opened, paths)
        self._clone = clone_around(paths)
        return opened if self._clone is None else self._clone.reopen(opened, paths)

    def _close_clone(self) -> None:
        if self._clone is not None:
            self._clone.close()

    def open_next_upper(self, upper: bytes, work: bytes) -> NextUpper:
        """Open another upper, on the filesystem of the one in use, for `go_over`.

        Raises:
            OSError: it cannot be used.
        """
        spec = self.spec._replace(upper=upper, work=work)
        before = self.require_upper().tree
        new, undo = self._open_upper(spec)
        assert new is not None
        if new.tree.filesystem is not before.filesystem or (
            new.tree.mark_names is not before.mark_names
        ):
            undo.close()
            raise OSError(errno.EXDEV, "not on the filesystem of the upper before", upper)
        return NextUpper(spec, new, undo)

    def close_upper(self) -> None:
        """Close the upper, which is to be exchanged; what nodes have open is the caller's."""
        self._upper_undo.close()

    def go_over(self, following: NextUpper) -> None:
        """Go on with another upper; nodes are the caller's, but for the root."""
        self.spec, self.upper, self._upper_undo = following
        self._stated = None
        self.roots = {
            **dict(zip(self.kept.positions, (tree.root for tree in self.kept.trees), strict=True)),
            **{at: root for at, root in self.roots.items() if not self.kept.holds(at)},
        }
        self.root.upper = following.upper.tree.root
        self.root.lowers = tuple(_until_opaque(self.roots))
        self.root.lower_index = None
        self.root.impure = False

    def open_kept(self, path: bytes) -> HostTree:
        """Open an upper of before as a layer; the caller closes it, or lets `kept` have it."""
        tree = open_directory_layer(
            self.numbering,
            path,
            self.spec.ids,
            self.directories,
            mark_names=self.mark_names,
            overrides=False,
        )
        tree.is_others = False
        return tree

    def _choose_marks(self) -> MarkNames:
        """The marks that layers are read by: those that the upper gets."""
        if self.spec.plain:
            return NO_MARK_NAMES
        if self.upper is None:
            uses_user = self.spec.user_marks or not has_trusted_xattrs()
            return USER_MARKS if uses_user else TRUSTED_MARKS
        return self.upper.tree.mark_names

    def _open_layers(self) -> tuple[LayerDirectory, ...]:
        roots: list[LayerDirectory] = []
        for position in range(len(self.spec.lower)):
            roots.append(self._open_layer(position).root)  # noqa: PERF401 - keeps the type wide
        if self.upper is None and self.spec.volumes:
            # Nowhere to create a volume's directory: the bottom of the stack has it, if no layer.
            paths = [path_of(volume) for volume in self.spec.volumes]
            roots.append(SkeletonDirectory(self.numbering.new_slot(), paths))
        return tuple(roots)

    def _open_copies(self, spec: StackSpec) -> Index | None:
        """Open the index of an upper that is a layer here, to read it; None where it has none."""
        if spec.copies is None or not isinstance(self.layers[0], HostTree):
            return None
        try:
            work_fd = _open_directory("workdir", spec.copies)
        except FileNotFoundError:  # a container that was never started
            return None
        try:
            index = Index(self.layers[0], work_fd)
        finally:
            os.close(work_fd)
        self._undo.callback(index.close)
        return index

    def _open_layer(self, position: int) -> Layer:
        path = self.spec.lower[position]
        if self.kept.holds(position):
            with about("lowerdir", path):
                kept = self.open_kept(path)
            self.kept.append(os.path.basename(path), position, kept)
            return kept
        with about("lowerdir", path):
            if os.path.isdir(path):
                layer: Layer = self._open_directory_layer(path)
            else:
                layer = self._open_file_layer(path)
        self.layers.append(layer)
        if position == 0:
            self._first_fd = layer.fd
        return layer

    def _open_directory_layer(self, path: bytes) -> HostTree:
        tree = open_directory_layer(
            self.numbering,
            path,
            self.spec.ids,
            self.directories,
            mark_names=self.mark_names,
            overrides=self.spec.layer_overrides,
            plain=self.spec.plain,
        )
        self._undo.callback(tree.close)
        return tree

    def _open_file_layer(self, path: bytes) -> Layer:
        # A twentieth of the start, for what most mounts have none of.
        from overlayfs_py.packs.chunks import process_cache
        from overlayfs_py.packs.layer import PackLayer
        from overlayfs_py.packs.pack import Pack, is_pack

        if not is_pack(path):
            return self._open_directory_layer(path)  # which says what is wrong with it
        pack = Pack(path, process_cache())
        # Elsewhere root's own packs look like nobody's, and what they give is the namespace's.
        trusted = is_ours_alone(os.fstat(pack.fd)) or not in_initial_user_namespace()
        layer = PackLayer(self.numbering, pack, self.spec.ids, trusted=trusted)
        self._undo.callback(layer.close)
        return layer

    def _open_data_layers(self) -> tuple[LayerDirectory, ...]:
        roots = []
        for path in self.spec.data_only:
            with about("lowerdir", path):
                roots.append(self._open_directory_layer(path).root)
        return tuple(roots)

    def open_volume(self, source: bytes, *, read_only: bool) -> HostTree:
        """Open a host directory as a tree of its own."""
        fd = open_volume_root(source)
        keeps_atime = read_only or self.spec.noatime
        # What lies in a layer as well is another object here, which others change.
        tree = VolumeTree(
            self.numbering.new_slot(),
            fd,
            self.spec.ids,
            self.directories,
            read_only=read_only,
            keeps_atime=keeps_atime,
        )
        self._undo.callback(tree.close)
        self.volumes.append(tree)
        return tree

    def _open_root(self) -> DirectoryNode:
        upper = None if self.upper is None else self.upper.tree.root
        if upper is not None and upper.marks().opaque:
            lowers: tuple[Backing, ...] = ()
        else:
            lowers = tuple(_until_opaque(self.roots))
        top: LayerDirectory = upper or lowers[0].directory
        root = DirectoryNode(top.attributes().ino, None, b"", upper, lowers)
        root.impure = upper is not None and upper.marks().impure
        return root

    def count_removed_link(self, node: FileNode) -> None:
        """Count one name less of a file that lies in a layer."""
        before = self.removed_links.get(node.ino)
        count = 1 if before is None else before.links + 1
        self.removed_links[node.ino] = RemovedLinks(count, time.time_ns())

    def attributes_below(self, lower: LayerFile) -> Attributes:
        """Return a layer's file's attributes, asking once while one change is under way.

        Layers do not change, so the last answer is remembered.
        """
        if self._stated is None or self._stated[0] is not lower:
            self._stated = lower, lower.attributes()
        return self._stated[1]

    # Nodes that nobody refers to any more.

    def let_go_node(self, node: Node) -> None:
        """Close what a node has open, as where it is dropped."""
        self._drop(node)

    def _drop(self, node: Node) -> None:
        self.readers.drop(node)
        if not node.cacheable:
            volume_nodes.forget(node)
        if isinstance(node, DirectoryNode):
            if node.upper is not None:
                self._drop_directory(node.upper)
        elif isinstance(node, FileNode):
            self._drop_file(node)

    def _drop_file(self, node: FileNode) -> None:
        if node.lower is not None:
            removed = self.removed_links.get(node.ino)
            if removed is not None and removed.links >= node.lower.attributes().nlink:
                del self.removed_links[node.ino]  # its last name: nobody will ask again
            return
        if node.index is not None:
            self.removed_links.pop(node.ino, None)
        if node.held is not None:
            if node.held.is_gone:
                self.table.origins.pop(node.own, None)
            self._close_held(node)
        elif node.is_copy:
            self.table.origins.pop(node.own, None)  # it is written down

    def _drop_directory(self, upper: HostDirectory) -> None:
        self.directories.drop(upper)
        self.nameless.let_go_directory(upper)
        if self.upper is not None and upper.parent is self.upper.stage:
            self.upper.discard(upper.name)  # removed, see `nameless`

    def keep_index(self, node: FileNode, entry: IndexEntry) -> None:
        """Let a copy that stands for several names be reached by its name in the index."""
        node.index = entry
        self.removed_links[node.ino] = RemovedLinks(-entry.extra, 0)

    def forget_index(self, node: FileNode) -> None:
        """Let the copy of a file that lost its last name go from the index."""
        assert node.index is not None
        self.require_upper().index.remove(node.index)
        node.index = None
        self.removed_links.pop(node.ino, None)

    def keep_removed(self, node: FileNode, held: Removed) -> None:
        """Let a file that has no name any more go on as `held`."""
        if isinstance(node.held, VolumeFile):
            node.held.close()
        node.held = held
        if isinstance(held, ParkedFile):
            self.removed_links[node.ino] = RemovedLinks(1, 0)  # its name on the stage

    def let_go(self, node: FileNode) -> None:
        """Close what holds a file, once it can be reached by a name again."""
        if node.held is None or node.parent is None or isinstance(node.held, VolumeFile):
            return
        if node.cacheable:
            self._close_held(node)
        else:
            volume_nodes.hold_again(self, node)

    def _close_held(self, node: FileNode) -> None:
        assert node.held is not None
        if isinstance(node.held, ParkedFile):
            self.removed_links.pop(node.ino, None)
        node.held.close()
        node.held = None


def _ignore(_: Node) -> None:
    return


def _until_opaque(roots: Mapping[int, LayerDirectory]) -> list[Backing]:
    """A layer whose root is opaque hides the layers below it."""
    lowers = []
    for position, root in roots.items():
        lowers.append(Backing(position, root))
        if len(lowers) < len(roots) and root.marks().opaque:
            break
    return lowers


def _open_directory(option: str, path: bytes) -> int:
    with about(option, path):
        return os.open(path, _OPEN)
