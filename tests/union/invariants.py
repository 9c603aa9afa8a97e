"""What holds of every union at any time: the fsck of these tests."""

from __future__ import annotations

import os
import stat
from collections import Counter
from typing import TYPE_CHECKING

from overlayfs_py.union.nodes import DirectoryNode, FileNode
from tests.support.snapshot import walk as walk_host
from tests.union.view import walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.union.core import Node
    from overlayfs_py.union.state import State
    from tests.union.world import World

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def check_invariants(world: World, *, stage: bool = True) -> None:
    """Check everything that must be so between two calls; holds what it walks through.

    Without `stage`, rubbish may lie there that could not be removed.
    """
    seen = _check_names(world)
    _check_table(world)
    if world.union._state.upper is not None:
        if stage:
            _check_stage(world)
        _check_links(world, seen)
        _check_opaque_directories(world)
        _check_origins(world)


def check_forgotten(world: World) -> None:
    """With every reference given back only the root and the way to volumes is kept."""
    world.forget()
    check_telling(world)
    world.forget()
    state = world.union._state
    needed = {state.root.ino}
    for node in state.table:
        here = node if not node.cacheable else None
        while here is not None:
            needed.add(here.ino)
            here = here.parent
    assert {node.ino for node in state.table} == needed
    _check_table(world)


def _check_names(world: World) -> dict[int, list[bytes]]:
    seen: dict[int, list[bytes]] = {}
    for path, node in walk(world):
        seen.setdefault(node.ino, []).append(path)
        attributes = world.union.attributes(node)
        assert stat.S_IFMT(attributes.mode) == stat.S_IFMT(node.mode), path
        assert attributes.ino == node.ino, path
        if stat.S_ISDIR(node.mode):
            _check_listing(world, path, node)
    directories = [paths for ino, paths in seen.items() if _is_directory(world, ino)]
    assert all(len(paths) == 1 for paths in directories), directories
    return seen


def _is_directory(world: World, ino: int) -> bool:
    return stat.S_ISDIR(world.union.node(ino).mode)


def _check_listing(world: World, path: bytes, node: Node) -> None:
    listed = world.union.names(node)
    assert len(listed) == len(set(listed)), f"{path!r} lists a name twice"
    for name in listed:
        looked = world.union.look(node, name)
        assert looked is not None, (path, name)
        child, attributes = looked
        assert attributes == world.union.attributes(child), (path, name)


def check_telling(world: World) -> int:
    """What is told of many names at once is what looking each of them up tells; holds all.

    Returns of how many something was told.
    """
    union, pending = world.union, [world.union.root]
    count = 0
    while pending:
        directory = pending.pop()
        names = union.names(directory)
        before = [union.look(directory, name) for name in names]
        in_plain = list(union.tell(directory, names, hold=False))
        held = list(union.tell(directory, names, hold=True))
        for at, (name, looked) in enumerate(zip(names, before, strict=True)):
            assert looked is not None, name
            node, attributes = looked
            assert in_plain[at] in (None, attributes), name
            if held[at] is None:
                now = union.lookup(directory, name)  # what was held since may be the same
                assert now is not None, name
                node = world.hold(now)
            else:
                assert held[at] == attributes, name
                world.count_hold(attributes.ino)
                count += 1
                if at % 2 and not node.is_directory:
                    continue  # nobody ever asks for it
                node = union.node(attributes.ino)
                assert union.look(directory, name) == (node, attributes), name
                assert union.attributes(node) == attributes, name
            if node.is_directory:
                pending.append(node)
    _check_table(world)
    return count


def _check_table(world: World) -> None:
    state = world.union._state
    pins: Counter[int] = Counter({state.root.ino: 1})
    for node in state.table:
        for parent, name in node.names():
            pins[parent.ino] += 1
            assert state.table.find(parent.ino) is parent, f"{name!r} has a parent nobody keeps"
    for node in state.table:
        assert node.pins == pins[node.ino], (node.name, node.pins, pins[node.ino])
        assert node.holds >= 0, node.name


def _check_stage(world: World) -> None:
    left = set(os.listdir(world.work / "work"))
    kept = {os.fsdecode(name) for name in world.union._state.upper.kept}
    parked = {os.fsdecode(name) for name in _parked(world.union._state)}
    assert left <= {"whiteout", *kept, *parked}, f"left on the stage: {left}"


def _parked(state: State) -> Iterator[bytes]:
    """The names on the stage of what is deleted and in use."""
    for node in state.table:
        if isinstance(node, FileNode) and node.held is not None:
            yield node.held.name
        elif isinstance(node, DirectoryNode) and node.removed and node.upper is not None:
            yield node.upper.name


def _check_links(world: World, seen: dict[int, list[bytes]]) -> None:
    """In the upper a file has as many names as links, and all of them show.

    One with several in its layer has those, too, that another layer hides.
    """
    for ino, paths in seen.items():
        node = world.union.node(ino)
        if isinstance(node, FileNode) and node.lower is None and node.cacheable:
            links = world.union.attributes(node).nlink
            assert links == len(paths) or (node.index is not None and links > len(paths)), paths


def _check_opaque_directories(world: World) -> None:
    opaque = set()
    for path, at, status in walk_host(world.upper):
        above, _, name = path.rpartition(b"/")
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            assert above not in opaque, f"{path!r} is a whiteout in an opaque directory"
        if name.startswith(b".wh."):
            assert above not in opaque, f"{path!r} is a whiteout file in an opaque directory"
        if stat.S_ISDIR(status.st_mode):
            marks = os.listxattr(at)
            if any(mark in marks and os.getxattr(at, mark) == b"y" for mark in _OPAQUE):
                opaque.add(path)


def _check_origins(world: World) -> None:
    """No number is remembered for an inode that is gone: the host gives it to the next file."""
    state = world.union._state
    alive = {status.st_ino for _, _, status in walk_host(world.upper)}
    index = world.work / "index"
    if index.exists():
        alive |= {(index / name).lstat().st_ino for name in os.listdir(index)}
    for node in state.table:
        if isinstance(node, FileNode) and node.held is not None:
            alive.add(node.held.status().st_ino)
        if isinstance(node, DirectoryNode) and node.upper is not None:
            alive.add(node.upper.status().st_ino)
    assert state.table.origins.keys() <= alive
