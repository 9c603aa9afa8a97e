"""Random lower layers: a plan as a value, its strategy, and how it is laid down for each side.

A plan is written twice, once for each side, with the same meaning in the form that each side
reads. What has no meaning for the kernel, or one that it documents as broken, is written for
ours alone; each such case is an entry of docs/DIVERGENCES.md.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, fields, replace
from enum import Enum
from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from pathlib import Path

_RUNS = re.compile(rb"(.)\1*", re.DOTALL)

PAST_S = 1_000_000_000  # layers and utimens(2) lie about here; what happens now is later
NAMES = (b"a", b"b", b"c", b"\xff")
LONG_NAME = b"n" * 255
OWNERS = (0, 1000, 1001)
MODES = (0o644, 0o600, 0o755, 0o4755, 0o2711, 0o000)
DIRECTORY_MODES = (0o755, 0o700, 0o1777, 0o2775, 0o555)
TARGETS = (b"a", b"b", b"c/a", b"a/b", b".", b"/nonexistent/a", b"t" * 300)
CONTENTS = (b"", b"x", b"lower", b"y" * 5000)

# struct posix_acl_xattr_header and entries (include/uapi/linux/posix_acl_xattr.h): tag, perm, id.
_ACL_ENTRY = struct.Struct("<HHI")
_ANYONE = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(_ACL_ENTRY.pack(*entry) for entry in entries)


# user::rw-, user:1000:rwx, group::r--, mask::rwx, other::---
NAMED_USER_ACL = acl(
    (1, 6, _ANYONE), (2, 7, 1000), (4, 4, _ANYONE), (16, 7, _ANYONE), (32, 0, _ANYONE)
)
# user::rwx, group::r-x, group:1001:-w-, mask::r--, other::r-x
NAMED_GROUP_ACL = acl(
    (1, 7, _ANYONE), (4, 5, _ANYONE), (8, 2, 1001), (16, 4, _ANYONE), (32, 5, _ANYONE)
)
ACLS = (NAMED_USER_ACL, NAMED_GROUP_ACL)
ACCESS = b"system.posix_acl_access"
DEFAULT = b"system.posix_acl_default"


def typed(value: object) -> str:
    """The value as one would type it: a long run of one byte as a product."""
    if not isinstance(value, bytes):
        return repr(value)
    run = max((match[0] for match in _RUNS.finditer(value)), key=len, default=b"")
    if len(run) < 64:
        return repr(value)
    before, _, after = value.partition(run)
    parts = [repr(before), f"{run[:1]!r} * {len(run)}", repr(after)]
    return " + ".join(part for part in parts if part != "b''")


class _Named(Enum):
    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


class Kind(_Named):
    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    LINK = "link"  # another name of a file in the same layer
    WHITEOUT = "whiteout"
    OPAQUE = "opaque"  # a directory that hides what lies below


class Marks(_Named):
    """How a layer says whiteout and opaque on our side; the kernel's always has DEVICE."""

    DEVICE = "char 0:0, overlay.opaque"
    AUFS = ".wh.NAME, .wh..wh..opq"
    XATTR = "overlay.whiteout on an empty file, overlay.opaque"
    FUSE_OVERLAYFS = "char 0:0, user.fuseoverlayfs.opaque"


@dataclass(frozen=True)
class Item:
    """One object of a layer; skipped where an earlier item of the layer stands in its way."""

    path: tuple[bytes, ...]
    kind: Kind
    mode: int = 0o644
    owner: int = 0
    content: bytes = b"lower"  # a symlink's target; of a resolved LINK the file's path
    to: int = 0  # of a LINK: which of the layer's files so far
    xattrs: tuple[tuple[bytes, bytes], ...] = ()

    def __repr__(self) -> str:
        """As short as it can be typed again."""
        odd = (f for f in fields(self)[2:] if getattr(self, f.name) != f.default)
        options = "".join(f", {f.name}={typed(getattr(self, f.name))}" for f in odd)
        return f"Item({self.path!r}, {self.kind!r}{options})"


@dataclass(frozen=True)
class Layer:
    items: tuple[Item, ...]
    marks: Marks = Marks.DEVICE

    def without_links(self) -> Layer:
        kept = tuple(item for item in self.items if item.kind is not Kind.LINK)
        return replace(self, items=kept)


_ROOTS_ONLY = (b"trusted.", b"security.")  # not for root of a user namespace

paths = st.lists(st.sampled_from((*NAMES[:3], *NAMES)), min_size=1, max_size=3).map(tuple)

_file_xattrs = st.sampled_from(
    (
        (),
        ((b"user.x", b"1"),),
        ((b"trusted.x", b""), (b"user.y", b"2")),
        ((ACCESS, NAMED_USER_ACL),),
        ((b"security.x", b"\0\xff"),),
    )
)
_directory_xattrs = st.sampled_from(
    (
        (),
        ((b"user.x", b"1"),),
        ((DEFAULT, NAMED_USER_ACL),),
        ((ACCESS, NAMED_GROUP_ACL), (DEFAULT, NAMED_GROUP_ACL)),
    )
)
_owners = st.sampled_from(OWNERS)
_directories = st.builds(
    Item,
    paths,
    st.sampled_from((Kind.DIRECTORY, Kind.DIRECTORY, Kind.OPAQUE)),
    mode=st.sampled_from(DIRECTORY_MODES),
    owner=_owners,
    xattrs=_directory_xattrs,
)
_files = st.builds(
    Item,
    paths,
    st.just(Kind.FILE),
    mode=st.sampled_from(MODES),
    owner=_owners,
    content=st.sampled_from(CONTENTS),
    xattrs=_file_xattrs,
)
_others = st.one_of(
    st.builds(Item, paths, st.just(Kind.SYMLINK), owner=_owners, content=st.sampled_from(TARGETS)),
    st.builds(Item, paths, st.just(Kind.FIFO), mode=st.sampled_from(MODES), owner=_owners),
    st.builds(Item, paths, st.just(Kind.WHITEOUT)),
    st.builds(Item, paths, st.just(Kind.LINK), to=st.integers(0, 9)),
)
_some = st.lists(
    st.one_of(_files, _files, _directories, _directories, _others, _others), max_size=8
)
layers = st.builds(
    Layer,
    st.builds(lambda one, more: (*one, *more), _some, _some),  # about eight, and shrinks to none
    st.sampled_from((Marks.DEVICE, *Marks)),
)
stacks = st.lists(layers, min_size=1, max_size=4)  # topmost first


class Dialect(Enum):
    """Who reads the layer that is laid down."""

    KERNEL = "kernel"
    OURS = "ours"


Tree = dict[bytes, Item]  # path -> what is there, parents first


def resolve(layer: Layer) -> Tree:
    """Make a tree of a list of items: missing parents appear, impossible items do not."""
    tree: Tree = {}
    for item in layer.items:
        parents = [b"/".join(item.path[:depth]) for depth in range(1, len(item.path))]
        path = b"/".join(item.path)
        if path in tree or any(p in tree and not _is_directory(tree[p]) for p in parents):
            continue
        if item.kind is Kind.LINK:
            files = [other for other, found in tree.items() if found.kind is Kind.FILE]
            if not files:
                continue
            item = replace(item, content=files[item.to % len(files)])
        for parent in parents:
            tree.setdefault(parent, Item(tuple(parent.split(b"/")), Kind.DIRECTORY, mode=0o755))
        tree[path] = item
    return tree


def _is_directory(item: Item) -> bool:
    return item.kind in (Kind.DIRECTORY, Kind.OPAQUE)


def merged_directories(trees: list[Tree]) -> set[bytes]:
    """The directories (b"" is the root) that a stack, topmost first, shows."""
    shown: set[bytes] = set()
    for tree in reversed(trees):
        covered = {path for path, item in tree.items() if item.kind is not Kind.DIRECTORY}
        shown = {p for p in shown if not any(p == c or p.startswith(c + b"/") for c in covered)}
        shown |= {b"", *(path for path, item in tree.items() if _is_directory(item))}
    return shown


def link_counts(stack: list[Layer]) -> set[int]:
    """How many names the files of the layers have, of those with more than one."""
    counts: set[int] = set()
    for layer in stack:
        tree = resolve(layer)
        links = Counter(item.content for item in tree.values() if item.kind is Kind.LINK)
        counts.update(1 + extra for extra in links.values())
    return counts


def lay(stack: list[Layer], roots: list[Path], dialect: Dialect, namespace: bytes) -> None:
    """Write the stack, topmost first, into the empty directories `roots`."""
    trees = [resolve(layer) for layer in stack]
    for depth, (layer, root) in enumerate(zip(stack, roots, strict=True)):
        tree = trees[depth]
        if dialect is Dialect.KERNEL:
            tree = without_lone_whiteouts(tree, merged_directories(trees[depth + 1 :]))
        _Writer(os.fsencode(root), _marks_for(layer.marks, dialect), namespace).write(tree)


def without_lone_whiteouts(tree: Tree, below: set[bytes]) -> Tree:
    """Divergence "lone whiteouts": only those in a directory that merges with one below."""
    return {
        path: item
        for path, item in tree.items()
        if item.kind is not Kind.WHITEOUT or _merges(path.rpartition(b"/")[0], tree, below)
    }


def _merges(directory: bytes, tree: Tree, below: set[bytes]) -> bool:
    opaque = any(
        item.kind is Kind.OPAQUE and (directory == path or directory.startswith(path + b"/"))
        for path, item in tree.items()
    )
    return not opaque and directory in below


def _marks_for(marks: Marks, dialect: Dialect) -> Marks:
    # Linux 6.18 misreads its own xattr whiteouts below a renamed directory: an emptied one answers
    # ENOTEMPTY to rmdir(2).
    return Marks.DEVICE if dialect is Dialect.KERNEL else marks


class _Writer:
    def __init__(self, root: bytes, marks: Marks, namespace: bytes) -> None:
        self._root = root
        self._marks = marks
        self._namespace = namespace

    def write(self, tree: Tree) -> None:
        for path, item in tree.items():
            self._make(os.path.join(self._root, path), item, tree)
        # Dressed when all is made: a default ACL would be inherited, a new name sets mtime.
        for path, item in tree.items():
            if item.kind not in (Kind.LINK, Kind.WHITEOUT):
                self._dress(os.path.join(self._root, path), item)
        for path in (b"", *tree):
            self._date(path)

    def _make(self, path: bytes, item: Item, tree: Tree) -> None:
        match item.kind:
            case Kind.FILE:
                with open(path, "xb") as file:
                    file.write(item.content)
            case Kind.DIRECTORY:
                os.mkdir(path)
            case Kind.OPAQUE:
                os.mkdir(path)
                self._mark_opaque(path)
            case Kind.SYMLINK:
                os.symlink(item.content, path)
            case Kind.FIFO:
                os.mkfifo(path)
            case Kind.LINK:
                os.link(os.path.join(self._root, item.content), path)
            case Kind.WHITEOUT:
                parent = tree.get(b"/".join(item.path[:-1]))
                self._whiteout(path, in_opaque=parent is not None and parent.kind is Kind.OPAQUE)

    def _mark_opaque(self, path: bytes) -> None:
        match self._marks:
            case Marks.AUFS:
                os.mknod(os.path.join(path, b".wh..wh..opq"))
            case Marks.FUSE_OVERLAYFS:
                os.setxattr(path, b"user.fuseoverlayfs.opaque", b"y")
            case Marks.DEVICE | Marks.XATTR:
                os.setxattr(path, self._namespace + b"opaque", b"y")

    def _whiteout(self, path: bytes, *, in_opaque: bool) -> None:
        parent, name = os.path.split(path)
        if self._marks is Marks.AUFS:
            os.mknod(os.path.join(parent, b".wh." + name))
        elif self._marks is Marks.XATTR and not in_opaque:
            os.mknod(path)
            os.setxattr(path, self._namespace + b"whiteout", b"")
            os.setxattr(parent, self._namespace + b"opaque", b"x")
        else:
            os.mknod(path, stat.S_IFCHR, 0)

    def _dress(self, path: bytes, item: Item) -> None:
        os.lchown(path, item.owner, item.owner)
        if item.kind is Kind.SYMLINK:
            return
        os.chmod(path, item.mode)
        for name, value in item.xattrs:
            if self._namespace == b"trusted.overlay." or not name.startswith(_ROOTS_ONLY):
                os.setxattr(path, name, value)

    def _date(self, path: bytes) -> None:
        time_ns = PAST_S * 1_000_000_000 + zlib.crc32(path)
        place = os.path.join(self._root, path)
        if os.path.lexists(place):  # an AUFS whiteout has another name
            os.utime(place, ns=(time_ns, time_ns), follow_symlinks=False)
