"""Volumes: host directories served in place of a path, without mount(2), changed by others too."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.local_filesystems import answers_soon
from overlayfs_py.layers.numbering import tree_index_of
from overlayfs_py.link_walk import follow
from overlayfs_py.union.creation import create
from overlayfs_py.union.lookup import lookup
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.values import Creator, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.values import Volume


def attach_volumes(state: State) -> None:
    """Attach the specification's volumes, outer ones before those inside them.

    A directory that is missing on the way is created, as engines do: in the upper, or in the
    volume around it.
    """
    for volume in sorted(state.spec.volumes, key=lambda volume: len(path_of(volume))):
        try:
            _attach(state, volume)
        except OSError as error:
            of_source = error.filename == volume.source
            raise OSError(
                error.errno, error.strerror, volume.source if of_source else volume.target
            ) from error
    if state.slow:
        from overlayfs_py.union.slow_volumes import share_room

        share_room(state, list(set(state.slow.values())))


def _attach(main: State, volume: Volume) -> None:
    covered = _directory_at(main, path_of(volume))
    parent, name = covered.parent, covered.name
    if parent is None:
        raise OSError(errno.EINVAL, "a volume cannot be at the root, nor a link to it lead there")
    state = _state_of(main, parent)
    if state is main and not answers_soon(volume.source):
        _attach_slow(main, volume, parent, name)
        return
    tree = state.open_volume(volume.source, read_only=volume.read_only)
    if state is not main:
        main.slow[tree.index] = main.slow[tree_index_of(parent.ino)]
    node = DirectoryNode(tree.root.attributes().ino, parent, name, tree.root, ())
    node.cacheable = False
    parent.attached[name] = node
    state.table.hold(node)


def _attach_slow(main: State, volume: Volume, parent: DirectoryNode, name: bytes) -> None:
    # With threads, for those who have such volumes.
    from overlayfs_py.union.slow_volumes import Door, SlowState

    slow = SlowState(main, volume)
    main.slow[slow.index] = slow
    door = Door(slow, parent, name)
    parent.attached[name] = door
    main.table.hold(door)


def _state_of(main: State, node: Node) -> State:
    """Whose node it is: a slow volume's, or the union's around them."""
    return main.slow.get(tree_index_of(node.ino), main) if main.slow else main


def _directory_at(state: State, path: Sequence[bytes]) -> DirectoryNode:
    """Follow a path as inside the mount: an absolute link starts at the union's root."""

    def child(parent: Node, name: bytes) -> Node:
        if not isinstance(parent, DirectoryNode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), name)
        inside = _state_of(state, parent)
        found = lookup(inside, parent, name) or _create(inside, parent, name)
        return _state_of(state, found).root if found.ino in doors(state) else found

    root: Node = state.root
    found = follow(root, path, child, _link_target, follow_last=True)[-1]
    if not isinstance(found, DirectoryNode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), found.name)
    return found


def doors(main: State) -> dict[int, State]:
    """The slow volumes by the numbers of their roots, by which their doors are known, too."""
    return {slow.root.ino: slow for slow in main.slow.values()}


def _link_target(node: Node) -> bytes | None:
    if isinstance(node, FileNode) and node.type == stat.S_IFLNK:
        return node.place.read_link()
    return None


def _create(state: State, parent: DirectoryNode, name: bytes) -> Node:
    ids = state.upper_ids
    creator = Creator(ids.seen_uid(0), ids.seen_gid(0))
    return create(state, parent, name, stat.S_IFDIR | 0o755, creator).node
