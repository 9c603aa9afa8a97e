"""A union in use goes on with an empty upper, and what was its upper is its topmost layer.

Plan: nothing that shows changes, so nobody has to be told. Every node stays, with its number: what
lay in the upper lies in a layer from then on, and is copied up again by the next change. Two things
lie in the workdir alone, which a layer does not have. Names of a file with several that still show
from below, whose copy the index tells of, become links of the copy before. What has lost its last
name goes on, on the stage of the new upper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostFile
from overlayfs_py.union import inodes, listing
from overlayfs_py.union.lookup import look
from overlayfs_py.union.nameless import ParkedFile
from overlayfs_py.union.nodes import Backing, DirectoryNode, FileNode
from overlayfs_py.union.steps import finished
from overlayfs_py.union.write_access import bring_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from overlayfs_py.layers.host import HostDirectory
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.union.upper import Upper

_NAMES_IN_A_STEP = 128


def take(state: State, upper: bytes, work: bytes, name: bytes) -> list[Node]:
    """Make the upper a layer called `name`; returns the nodes whose attributes are others now.

    Raises:
        OSError: the new upper cannot be used; nothing that shows has changed then.
        RuntimeError: the union must not be used any more.
    """
    following = state.open_next_upper(upper, work)
    new = following.upper
    try:
        finished(completing_links(state))
        linked = _empty_index(state)
        inodes.copy_metadata(state.upper_ids, state.require_upper().tree.root, new.tree.root)
        nodes = list(state.table)
        numbers = _own_numbers(nodes)
    except OSError:
        following.undo.close()
        raise
    former = state.require_upper()
    try:
        moved = former.hand_on_stage(new)
        former.close_workdir()
    except OSError as error:
        # What is deleted and in use would be lost.
        raise RuntimeError("the stage failed in the middle of a snapshot") from error
    position = state.kept.push(name, former.tree)
    former.tree.become_layer()
    _turn_files(state, nodes, former, new, moved)
    _turn_directories(state, numbers, position)
    _carry_directories(nodes, former, new, moved)
    state.go_over(following)
    return linked


# Links.


def completing_links(state: State) -> Steps[None]:
    """Let every name that shows a copied file be a link of the copy.

    They are looked for in all that the layers show where they are not known: seldom, and in steps.
    """
    upper = state.require_upper()
    if upper.index.is_empty:
        return
    for node in state.table:
        if isinstance(node, FileNode) and node.index is not None:
            for parent, name in node.names():
                bring_name(state, node, parent, name)
            yield
    if upper.index.has_more_names():
        yield from _searching(state)


def _searching(state: State) -> Steps[None]:
    pending = [state.root]
    while pending:
        directory = pending.pop()
        if not directory.cacheable or directory.removed:
            continue
        for count, name in enumerate(listing.names(directory)):
            seen = look(state, directory, name)
            node = None if seen is None else seen.node
            if isinstance(node, DirectoryNode):
                pending.append(node)
            elif isinstance(node, FileNode) and node.index is not None:
                bring_name(state, node, directory, name)
            if count % _NAMES_IN_A_STEP == 0:
                yield


def _empty_index(state: State) -> list[Node]:
    """Let the copies have their links only; returns those of them that are known."""
    upper = state.require_upper()
    known: list[Node] = []
    for node in state.table:
        if isinstance(node, FileNode) and node.index is not None:
            node.index = None
            state.removed_links.pop(node.ino, None)
            known.append(node)
    upper.index.remove_all()
    return known


# Nodes.


def _own_numbers(nodes: Iterable[Node]) -> list[tuple[DirectoryNode, int]]:
    """The directories of the upper, each with the number of its inode there."""
    return [
        (node, node.upper.tree.ino_of(node.upper.status()))
        for node in nodes
        if isinstance(node, DirectoryNode)
        and node.cacheable
        and node.upper is not None
        and not node.removed
    ]


def _turn_files(
    state: State, nodes: Iterable[Node], former: Upper, new: Upper, moved: dict[bytes, bytes]
) -> None:
    for node in nodes:
        if not isinstance(node, FileNode) or node.lower is not None or not node.cacheable:
            continue
        state.readers.drop(node)
        held = node.held
        if isinstance(held, ParkedFile):
            held.move(new, moved[held.name])
        elif held is not None:
            held.tree = new.tree
        else:
            node.lower = HostFile(_in_upper(node, former), node.name)


def _in_upper(node: FileNode, former: Upper) -> HostDirectory:
    assert node.parent is not None
    directory = node.parent.require_upper()
    assert directory.tree is former.tree
    return directory


def _turn_directories(
    state: State, numbers: Iterable[tuple[DirectoryNode, int]], position: int
) -> None:
    for node, own in numbers:
        node.lowers = (Backing(position, node.require_upper(), own), *node.lowers)
        node.upper = node.lower_index = node.redirect = None
        node.impure = False
        state.table.origins[own] = node.ino


def _carry_directories(
    nodes: Iterable[Node], former: Upper, new: Upper, moved: dict[bytes, bytes]
) -> None:
    """Let directories that are gone, and in use, belong to the new upper."""
    for node in nodes:
        if isinstance(node, DirectoryNode) and node.removed and node.upper is not None:
            if node.upper.tree is not former.tree:
                continue  # a volume's
            if node.upper.parent is former.stage:
                node.upper.move(new.stage, moved[node.upper.name])
            node.upper.tree = new.tree
