"""What a union shows, as a value that compares with a real tree's `snapshot`."""

from __future__ import annotations

import hashlib
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

from tests.support.snapshot import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.union.core import Node
    from tests.union.world import World

_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}
_DIGEST_BYTES = 32  # as in tests.support.snapshot


def walk(world: World) -> Iterator[tuple[bytes, Node]]:
    """Every path and its node, held; each directory before what it holds."""
    pending: list[tuple[bytes, Node]] = [(b".", world.union.root)]
    while pending:
        path, node = pending.pop()
        yield path, node
        if not stat.S_ISDIR(node.mode):
            continue
        for name in world.union.names(node):
            child = world.union.lookup(node, name)
            assert child is not None, f"{path!r} lists {name!r}, which is not there"
            pending.append((name if path == b"." else path + b"/" + name, world.hold(child)))


def view(world: World, *, mtime: bool = False) -> dict[bytes, Entry]:
    """All that users can see: equal to `snapshot` of a mount that shows the same."""
    raw = {path: (_entry(world, node, mtime=mtime), node) for path, node in walk(world)}
    paths: dict[int, list[bytes]] = {}
    for path, (_, node) in raw.items():
        paths.setdefault(node.ino, []).append(path)
    return {
        path: entry
        if entry.kind == "directory"
        else replace(entry, links=tuple(sorted(paths[node.ino])))
        for path, (entry, node) in sorted(raw.items())
    }


def _entry(world: World, node: Node, *, mtime: bool) -> Entry:
    union = world.union
    found = union.attributes(node)
    kind = _KINDS[stat.S_IFMT(found.mode)]
    plain = kind != "directory"
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(found.mode),
        uid=found.uid,
        gid=found.gid,
        rdev=found.rdev,
        size=found.size if plain else None,
        nlink=found.nlink if plain else None,
        mtime_ns=found.mtime_ns if mtime else None,
        content=_content(world, node, found) if kind == "file" else None,
        target=union.read_link(node) if kind == "symlink" else None,
        xattrs=tuple(
            (name, union.get_xattr(node, name)) for name in sorted(union.list_xattrs(node))
        ),
        links=(),
    )


def _content(world: World, node: Node, found: Attributes) -> bytes:
    data = world.union.read(node, 0, found.size)
    return data if len(data) <= _DIGEST_BYTES else hashlib.sha256(data).digest()
