"""Back to what layers show, in a union that is in use: another upper under the same nodes.

Other uppers of before may lie under that one, too: a snapshot, which nothing above it is kept of.

Plan: what lies in a layer that stays is the same before and after, and so is a directory of such
layers. Its node goes on, whoever has it open. Whatever had its inode in the old upper, or in a
layer that goes, is gone: requests that name it get ESTALE, and nothing else gets its number as long
as somebody may refer to it. So a process never writes into the new state what it has read in the
old one.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.layers.host import HostDirectory, HostObject
from overlayfs_py.layers.marks import WHITEOUT_PREFIX
from overlayfs_py.union import inodes, metadata
from overlayfs_py.union.copy_up import all_at_once, copy_up_directory
from overlayfs_py.union.creation import create
from overlayfs_py.union.lookup import look
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.values import Creator
from overlayfs_py.union.write_access import make_writable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from overlayfs_py.layers.host import HostTree
    from overlayfs_py.layers.interface import LayerDirectory
    from overlayfs_py.layers.values import Attributes
    from overlayfs_py.union.nodes import Backing, Node
    from overlayfs_py.union.state import State


class Changed(NamedTuple):
    """What the users of a union have to forget; directories and nodes by number."""

    names: list[tuple[Node, bytes]]
    contents: list[Node]  # data, or names, and attributes
    attributes: list[Node]


class _Known(NamedTuple):
    """What there was before."""

    children: dict[DirectoryNode, list[tuple[bytes, Node]]]
    changed: dict[DirectoryNode, set[bytes]]  # the names in what is over each directory, or was
    kept: dict[Node, Attributes]  # places of mounts, which have to go on
    with_removed_links: set[int]
    numbers: dict[int, int]  # of what goes on in uppers of before, by the inodes' own


class _Layers(NamedTuple):
    """What becomes of the uppers of before."""

    stay: int  # how many of the lowest
    staying: frozenset[HostTree]
    gone: frozenset[HostTree]
    new: list[tuple[bytes, HostTree]]  # by name, lowest first


def reset(
    state: State,
    upper: bytes,
    work: bytes,
    kept: Collection[bytes],
    layers: Sequence[bytes] | None = None,
) -> Changed:
    """Go on with an empty upper.

    `kept` are absolute paths of files and directories, of mount points for example: one that is
    gone with the old upper is made anew, empty, and is the same as before for those who use it.
    `layers` are the uppers of before that are below it from now on, topmost first, known by the
    last components of their paths; None for those that there are.

    Raises:
        OSError: the new upper cannot be used; nothing has changed then.
        RuntimeError: a layer cannot be read; the union must not be used any more.
    """
    nodes = list(state.table)
    following = state.open_next_upper(upper, work)
    with ExitStack() as undo:
        undo.push(following.undo)
        plan = _plan(state, layers, undo)
        known = _what_is_known(state, nodes, _kept_nodes(state, nodes, kept) | {state.root}, plan)
        top = _topmost(state, plan)
        if top is not None:
            inodes.copy_metadata(state.upper_ids, top.root, following.upper.tree.root)
        undo.pop_all()
    _let_go_of_upper(state, nodes, plan)
    state.close_upper()
    state.kept.exchange(plan.stay, plan.new)
    state.removed_links.clear()
    root_before = state.root.lowers
    state.go_over(following)
    state.table.begin_anew(state.root)
    state.table.origins.update(known.numbers)
    known.changed[state.root] |= _names_between(root_before, state.root.lowers)
    try:
        with all_at_once(state):
            _Resetting(state, known).settle(nodes)
    except OSError as error:
        # Neither state: no answer of such a union would be right.
        raise RuntimeError("a layer failed in the middle of a reset") from error
    state.table.count_pins(state.root)
    return _changed(state, known, nodes)


def _plan(state: State, layers: Sequence[bytes] | None, undo: ExitStack) -> _Layers:
    """Open the layers that are not there yet."""
    trees = state.kept.trees
    if layers is None:
        return _Layers(len(trees), frozenset(trees), frozenset(), [])
    stay = state.kept.shared_with([os.path.basename(path) for path in layers])
    new: list[tuple[bytes, HostTree]] = []
    for path in reversed(layers[: len(layers) - stay]):
        tree = state.open_kept(path)
        undo.callback(tree.close)
        new.append((os.path.basename(path), tree))
    gone = len(trees) - stay
    return _Layers(stay, frozenset(trees[gone:]), frozenset(trees[:gone]), new)


def _topmost(state: State, plan: _Layers) -> HostTree | None:
    if plan.new:
        return plan.new[-1][1]
    return next((tree for tree in state.kept.trees if tree in plan.staying), None)


def _what_is_known(state: State, nodes: list[Node], kept_nodes: set[Node], plan: _Layers) -> _Known:
    directories = [node for node in nodes if isinstance(node, DirectoryNode) and node.cacheable]
    changed = {
        node: _names_above(node, plan, is_kept=node in kept_nodes)
        for node in directories
        if node.upper is not None or any(_is_in(each.directory, plan.gone) for each in node.lowers)
    }
    changed.setdefault(state.root, set())
    numbers = {
        node.own: node.ino
        for node in nodes
        if isinstance(node, FileNode) and node.lower and _is_in(node.lower, plan.staying)
    }
    for node in directories:
        for each in node.lowers:
            if _is_in(each.directory, plan.staying):
                numbers[each.ino] = node.ino
                break
    return _Known(
        _children_of(nodes),
        changed,
        {node: metadata.attributes(state, node) for node in kept_nodes},
        set(state.removed_links),
        numbers,
    )


def _is_in(place: object, trees: frozenset[HostTree]) -> bool:
    return isinstance(place, HostObject) and place.tree in trees


def _names_above(directory: DirectoryNode, plan: _Layers, *, is_kept: bool) -> set[bytes]:
    """The names in what is over the part of a directory that stays."""
    gone = [each.directory for each in directory.lowers if _is_in(each.directory, plan.gone)]
    if len(gone) == len(directory.lowers) and not is_kept:
        return set()  # it goes as a whole
    upper = [] if directory.upper is None else [directory.upper]
    return set().union(*(_names_in(each) for each in [*upper, *gone]))


def _names_between(before: Iterable[Backing], after: Iterable[Backing]) -> set[bytes]:
    """The names in directories that are in one stack and not in another."""
    old = {_identity(each): each.directory for each in before}
    new = {_identity(each): each.directory for each in after}
    differing = [old.get(key) or new[key] for key in old.keys() ^ new.keys()]
    return set().union(*map(_names_in, differing))


def _identity(backing: Backing) -> tuple[int, int]:
    return backing.position, backing.ino


def _names_in(directory: LayerDirectory) -> set[bytes]:
    """The names that a directory shows or deletes; others may be among them."""
    if not isinstance(directory, HostDirectory):
        return {entry.name for entry in directory.entries()}
    listed = set(map(os.fsencode, os.listdir(directory.fd())))  # a fourth of what entries take
    twins = [name for name in listed if name.startswith(WHITEOUT_PREFIX)]
    return listed.union(name.removeprefix(WHITEOUT_PREFIX) for name in twins)


def _children_of(nodes: Iterable[Node]) -> dict[DirectoryNode, list[tuple[bytes, Node]]]:
    children: dict[DirectoryNode, list[tuple[bytes, Node]]] = {}
    for node in nodes:
        for parent, name in node.names():
            children.setdefault(parent, []).append((name, node))
    return children


def _kept_nodes(state: State, nodes: Iterable[Node], kept: Iterable[bytes]) -> set[Node]:
    """The nodes of some paths and of what is above them, and the directories above volumes."""
    found: set[Node] = set()
    wanted: list[Node | None] = [
        node for node in nodes if isinstance(node, DirectoryNode) and node.attached
    ]
    by_name = {(parent, name): node for node in nodes for parent, name in node.names()}
    for path in kept:
        here: Node | None = state.root
        for name in filter(None, path.split(b"/")):
            here = by_name.get((here, name)) if isinstance(here, DirectoryNode) else None
        wanted.append(here)
    for node in wanted:
        while node is not None and node.cacheable and node not in found:
            found.add(node)
            node = node.parent
    return found


def _let_go_of_upper(state: State, nodes: Iterable[Node], plan: _Layers) -> None:
    """Close what nodes have open in the upper, and in layers that go; they are in neither then."""
    for node in nodes:
        if not node.cacheable:
            continue
        if isinstance(node, DirectoryNode):
            if node.upper is not None:
                state.let_go_node(node)
                node.upper = None
            if any(_is_in(each.directory, plan.gone) for each in node.lowers):
                stay = (each for each in node.lowers if not _is_in(each.directory, plan.gone))
                node.lowers, node.lower_index = tuple(stay), None
        elif isinstance(node, FileNode) and (node.lower is None or _is_in(node.lower, plan.gone)):
            state.let_go_node(node)
            node.lower = node.held = node.index = None
    state.directories.drop_where(lambda owner: _is_in(owner, plan.gone))


class _Resetting:
    """Finds for each node what it is from now on."""

    def __init__(self, state: State, known: _Known) -> None:
        self._state = state
        self._known = known
        self._table = state.table
        self._survivors: set[Node] = {state.root}

    def settle(self, nodes: Iterable[Node]) -> None:
        """Let nodes go on, or retire them."""
        self._begin(self._state.root)
        self._settle_lower_files(nodes)
        self._settle_directories()
        for node in nodes:
            if node in self._survivors:
                self._settle_names(node)
            else:
                self._table.retire(node)

    def _begin(self, directory: DirectoryNode) -> None:
        """Forget what was read in a directory's old upper."""
        directory.redirect = directory.protection = directory.default_acl = None
        directory.removed = False

    def _settle_lower_files(self, nodes: Iterable[Node]) -> None:
        """Keep what never was in the upper; and volumes, which have nothing to do with it."""
        for node in nodes:
            if not node.cacheable or (isinstance(node, FileNode) and node.lower is not None):
                self._keep(node)

    def _keep(self, node: Node) -> None:
        self._survivors.add(node)
        self._table.settle(node)

    def _settle_directories(self) -> None:
        pending = [self._state.root]
        while pending:
            parent = pending.pop()
            was_changed = parent in self._known.changed
            for name, node in self._known.children.get(parent, ()):
                if node in self._survivors or not node.cacheable:
                    continue
                if isinstance(node, DirectoryNode):
                    if self._settle_directory(parent, name, node, was_changed=was_changed):
                        pending.append(node)
                elif isinstance(node, FileNode) and node in self._known.kept:
                    self._make_anew(parent, name, node)

    def _settle_directory(
        self, parent: DirectoryNode, name: bytes, node: DirectoryNode, *, was_changed: bool
    ) -> bool:
        """Whether a directory goes on."""
        if was_changed and not self._is_shown(parent, name, node):
            if node not in self._known.kept:
                return False
            self._make_anew(parent, name, node)
            return True
        self._begin(node)
        self._keep(node)
        return True

    def _is_shown(self, parent: DirectoryNode, name: bytes, node: DirectoryNode) -> bool:
        """Whether a name shows the directory that it has shown; takes over where it is now."""
        seen = look(self._state, parent, name)
        now = None if seen is None else seen.node
        if not isinstance(now, DirectoryNode) or now.ino != node.ino:
            return False
        self._take_over(node, now)
        return True

    def _take_over(self, node: DirectoryNode, now: DirectoryNode) -> None:
        node.upper, node.impure = now.upper, now.impure
        if list(map(_identity, node.lowers)) != list(map(_identity, now.lowers)):
            names = _names_between(node.lowers, now.lowers)
            node.lowers, node.lower_index = now.lowers, None
            # So that what is below is looked at, too.
            self._known.changed.setdefault(node, set()).update(names)

    def _make_anew(self, parent: DirectoryNode, name: bytes, node: Node) -> None:
        """Let a node be what now has its name: what there is, or something new and empty."""
        found = self._known.kept[node]
        seen = look(self._state, parent, name)
        if seen is not None and seen.node.type == node.type:
            now = seen.node
        elif seen is None:
            mode = stat.S_IFMT(found.mode) | stat.S_IMODE(found.mode)
            now = create(self._state, parent, name, mode, Creator(found.uid, found.gid)).node
        else:
            return
        if now.ino != node.ino:
            self._rename_number(now, node.ino)
        if isinstance(node, DirectoryNode) and isinstance(now, DirectoryNode):
            self._begin(node)
            self._take_over(node, now)
        elif isinstance(node, FileNode) and isinstance(now, FileNode):
            node.lower, node.below, node.own, node.is_copy = now.lower, now.below, now.own, False
            node.protection = None
        self._keep(node)

    def _rename_number(self, now: Node, ino: int) -> None:
        """Let what lies in the upper, or is copied there, go by another number."""
        if isinstance(now, DirectoryNode):
            upper = copy_up_directory(self._state, now)
            own = upper.tree.ino_of(upper.status())
        else:
            assert isinstance(now, FileNode)
            make_writable(self._state, now)
            own = now.own
        self._table.take(ino)
        self._table.origins[own] = ino

    def _settle_names(self, node: Node) -> None:
        """Take the names away that a layer's file is not shown under any more."""
        if not isinstance(node, FileNode) or node.lower is None or not node.cacheable:
            return
        for parent, name in node.names():
            if parent in self._survivors and not (
                parent in self._known.changed and not self._shows(parent, name, node)
            ):
                continue
            node.lose_name(parent, name)

    def _shows(self, parent: DirectoryNode, name: bytes, node: FileNode) -> bool:
        seen = look(self._state, parent, name)
        return seen is not None and seen.node is node


def _changed(state: State, known: _Known, nodes: Iterable[Node]) -> Changed:
    """What is not as it was."""
    goes_on = set(state.table)
    names: dict[tuple[Node, bytes], None] = {}
    for directory, in_upper in known.changed.items():
        if directory in goes_on:
            names.update(((directory, name), None) for name in in_upper)
    for directory, children in known.children.items():
        for name, node in children:
            if node in goes_on and node.has_name(directory, name):
                names.pop((directory, name), None)
            elif directory in goes_on:
                names[directory, name] = None
    contents = [node for node in nodes if node not in goes_on]
    contents += [node for node in goes_on if node in known.changed or node in known.kept]
    attributes = [node for node in goes_on if node.ino in known.with_removed_links]
    return Changed(list(names), contents, attributes)
