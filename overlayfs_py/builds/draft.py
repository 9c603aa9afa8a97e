"""A layer on its way: what it changes of the layers below, as a tree, before anything is written.

The tree shows what the image will show. So a later source sees what an earlier one has put there,
and links of the base lead where they lead in the image, never out of it.
"""

from __future__ import annotations

import stat
import time
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, field, structs

from overlayfs_py import link_walk
from overlayfs_py.builds.failures import CannotPlace
from overlayfs_py.layers.reserved_xattrs import disk_name
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.packs.values import Hole, Metadata, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles
    from overlayfs_py.packs.layer_writer import LayerWriter
    from overlayfs_py.packs.values import DataOrHole, Path

_ROOT_MODE = stat.S_IFDIR | 0o755
_SECOND_NS = 1_000_000_000


class Content(NamedTuple):
    """A regular file's data; names that share one object are links of one file."""

    size: int
    data: Callable[[], Iterable[DataOrHole]]


class Node(Struct, eq=False):
    """One object of the image."""

    mode: int  # type and permission bits
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    xattrs: Mapping[bytes, bytes] = field(default_factory=dict)
    rdev: int = 0
    target: bytes = b""  # of a symbolic link
    content: Content | None = None
    below: ImageFile | None = None  # of the base, and shows: a directory, or the file itself
    covers: bool = False  # the base has a directory in this place, which does not show
    is_changed: bool = False
    is_way: bool = False  # something below has changed
    parent: Node | None = None
    children: dict[bytes, Node] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)


class _Place(NamedTuple):
    """A path, and what is there now."""

    path: Path
    node: Node | None


class Draft:
    """The image that a layer makes of its base."""

    def __init__(self, base: ImageFiles | None, latest_ns: int | None) -> None:
        """Begin with no change. Times of the layer are `latest_ns` at the latest, if given."""
        self._base = base
        self._latest_ns = latest_ns
        self.now_ns = self.time_of(time.time_ns() if latest_ns is None else latest_ns)
        self.root = Node(_ROOT_MODE) if base is None else self._of_base(base.root())

    def time_of(self, mtime_ns: int) -> int:
        """Return the time that a file of this layer has: whole seconds, as in docker's layers."""
        latest_ns = mtime_ns if self._latest_ns is None else min(mtime_ns, self._latest_ns)
        return latest_ns // _SECOND_NS * _SECOND_NS

    # Looking.

    def child(self, directory: Node, name: bytes) -> Node | None:
        """Return what a directory has under a name."""
        known = directory.children.get(name)
        if known is not None or directory.below is None or not directory.is_directory:
            return known
        assert self._base is not None
        found = self._base.look(directory.below, name)
        if found is None:
            return None
        node = directory.children[name] = self._of_base(found)
        node.parent = directory
        return node

    def find(self, path: Path) -> Node | None:
        """Return what is at a path, in which no link is followed."""
        here: Node | None = self.root
        for name in path:
            if here is None or not here.is_directory:
                return None
            here = self.child(here, name)
        return here

    def directory_at(self, path: Path) -> Node:
        """Return a directory that is there."""
        found = self.find(path)
        assert found is not None
        return found

    def resolve(self, path: Path, root: Path = ()) -> Path:
        """Return where a path leads, its last component followed, too; it need not be there.

        Links lead nowhere out of `root`, a directory without links on its way.

        Raises:
            CannotPlace: the links have no end.
        """
        top = self.find(root)

        def child(place: _Place, name: bytes) -> _Place:
            at, node = place
            found = self.child(node, name) if node is not None and node.is_directory else None
            return _Place((*at, name), found)

        try:
            found = link_walk.follow(_Place((), top), path, child, _link_target, follow_last=True)[
                -1
            ].path
        except OSError as error:
            raise CannotPlace(shown(path), error.strerror or "") from None
        return (*root, *found)

    def _of_base(self, file: ImageFile) -> Node:
        assert self._base is not None
        seen = file.attributes
        is_link = stat.S_ISLNK(seen.mode)
        return Node(
            seen.mode,
            seen.uid,
            seen.gid,
            seen.mtime_ns,
            self._base.xattrs(file) if stat.S_ISDIR(seen.mode) else {},
            seen.rdev,
            self._base.read_link(file) if is_link else b"",
            below=file,
        )

    # Changing.

    def put(self, directory: Node, name: bytes, node: Node) -> None:
        """Put an object in a directory; what was there is replaced."""
        before = self.child(directory, name)
        if before is not None:
            is_base_directory = before.is_directory and before.below is not None
            node.covers = is_base_directory or before.covers
        node.parent = directory
        directory.children[name] = node
        _mark(node)

    def link(self, path: Path, target: Path) -> None:
        """Give what is at `target`, which is no directory, another name.

        A file of the base is then one of this layer, too: links cannot lead from one to another.

        Raises:
            CannotPlace: nothing is there, or a directory.
        """
        node = self.find(target)
        if node is None or node.is_directory:
            why = "is a directory" if node is not None else "is not there"
            raise CannotPlace(shown(path), f"a hard link to {shown(target)}, which {why}")
        if node.below is not None:
            node = self._copied_up(node, node.below)
            self.put(self.directory_at(target[:-1]), target[-1], node)
        self.put(self.directory_at(path[:-1]), path[-1], structs.replace(node, covers=False))

    def _copied_up(self, node: Node, file: ImageFile) -> Node:
        base = self._base
        assert base is not None
        content = None
        if stat.S_ISREG(node.mode):
            content = Content(file.attributes.size, partial(_pieces, base, file))
        return structs.replace(node, xattrs=base.xattrs(file), content=content, below=None)

    def describe(self, directory: Node, like: Node) -> None:
        """Give a directory the metadata of another."""
        directory.mode, directory.uid, directory.gid = like.mode, like.uid, like.gid
        directory.mtime_ns, directory.xattrs = like.mtime_ns, like.xattrs
        _mark(directory)

    def make_directories(self, path: Path, mode: int, uid: int, gid: int) -> None:
        """Make a directory and those above it, where they are missing; no link is followed.

        Raises:
            CannotPlace: one of them is something else.
        """
        here = self.root
        for at, name in enumerate(path):
            below = self.child(here, name)
            if below is None:
                below = Node(stat.S_IFDIR | mode, uid, gid, self.now_ns)
                self.put(here, name, below)
            elif not below.is_directory:
                raise CannotPlace(shown(path[: at + 1]), "cannot be made: it is no directory")
            here = below

    # Writing.

    def write(self, layer: LayerWriter) -> None:
        """Write all that has changed, each directory before what is in it, by name.

        Raises:
            BadEntry: what no layer can hold.
            OSError: from reading the files.
        """
        root = self.root
        if not root.is_way:
            return
        if (root.mode, root.uid, root.gid) != (_ROOT_MODE, 0, 0) or root.xattrs:
            layer.add_directory((), _metadata(root))
        first: dict[int, Path] = {}  # by the content that several names share
        pending: list[tuple[Path, Node]] = [((name,), node) for name, node in _in_order(self.root)]
        while pending:
            path, node = pending.pop()
            self._write(layer, path, node, first)
            pending += [((*path, name), child) for name, child in _in_order(node)]

    def _write(self, layer: LayerWriter, path: Path, node: Node, first: dict[int, Path]) -> None:
        meta = _metadata(node)
        kind = stat.S_IFMT(node.mode)
        if kind == stat.S_IFDIR:
            layer.add_directory(path, meta, opaque=node.covers)
        elif kind == stat.S_IFLNK:
            layer.add_symlink(path, meta, node.target)
        elif kind == stat.S_IFREG:
            assert node.content is not None
            known = first.setdefault(id(node.content), path)
            if known != path:
                layer.add_link(path, known, meta)
            else:
                layer.add_file(path, meta, node.content.size, node.content.data())
        else:
            layer.add_special(path, kind, meta, node.rdev)


def _mark(node: Node) -> None:
    """Note that an object has changed: it is to be written, with the directories on its way."""
    node.is_changed = True
    above = node.parent
    while above is not None and not above.is_way:
        above.is_way = True
        above = above.parent


def _pieces(base: ImageFiles, file: ImageFile) -> Iterator[DataOrHole]:
    for piece in base.pieces(file):
        yield Hole(piece) if isinstance(piece, int) else piece


def _link_target(place: _Place) -> bytes | None:
    node = place.node
    return node.target if node is not None and stat.S_ISLNK(node.mode) else None


def _in_order(node: Node) -> list[tuple[bytes, Node]]:
    """A directory's changed children, last first."""
    changed = (each for each in node.children.items() if each[1].is_changed or each[1].is_way)
    return sorted(changed, key=_name, reverse=True)


def _name(item: tuple[bytes, Node]) -> bytes:
    return item[0]


def _metadata(node: Node) -> Metadata:
    xattrs = tuple((disk_name(name), value) for name, value in sorted(node.xattrs.items()))
    mode = stat.S_IMODE(node.mode)
    return Metadata(mode, node.uid, node.gid, node.mtime_ns, None, xattrs)
