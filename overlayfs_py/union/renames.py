"""rename(2), with RENAME_NOREPLACE and RENAME_EXCHANGE.

First everything is decided and made ready (copies, marks), nothing of which shows; then one
renameat2 does it all, the whiteout left behind included. Source for what the marks must say:
fs/overlayfs/dir.c, ovl_rename and ovl_set_redirect.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from overlayfs_py.errors import ReservedName
from overlayfs_py.layers.host import HostDirectory
from overlayfs_py.layers.marks import is_reserved
from overlayfs_py.layers.values import Absence
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import files
from overlayfs_py.syscalls.files import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT
from overlayfs_py.union import inodes
from overlayfs_py.union.acting import owners_rules
from overlayfs_py.union.copy_up import copy_up_directory
from overlayfs_py.union.creation import require_same_tree
from overlayfs_py.union.listing import require_empty, requiring_empty
from overlayfs_py.union.lookup import lookup, shown_below, upper_state
from overlayfs_py.union.lowers import lists_long
from overlayfs_py.union.nameless import require_stage
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.origins import mark_for_copy
from overlayfs_py.union.protection import require_deletable, require_takes_names
from overlayfs_py.union.removal import (
    has_entries,
    losing_directory,
    losing_name,
    park,
    parks,
    require,
)
from overlayfs_py.union.steps import finished
from overlayfs_py.union.upper import rename_as_owner
from overlayfs_py.union.values import Need, WhiteoutStyle
from overlayfs_py.union.write_access import bring_name, make_writable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from overlayfs_py.layers.host import HostObject
    from overlayfs_py.union.lookup import UpperState
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.steps import Steps
    from overlayfs_py.union.upper import Upper


# A redirect is an xattr, and a filesystem may have a block for all of an inode's. Where the path
# is too long for that, mv(1) has to copy; the kernel gives up beyond this length.
_SURE_TO_FIT_BYTES = 256
_TOO_LARGE = (errno.ENOSPC, errno.E2BIG, errno.ERANGE)


class End:
    """One end of a rename: a name in a directory, and the node that it shows."""

    __slots__ = ("name", "node", "parent", "rubbish")

    def __init__(self, parent: DirectoryNode, name: bytes, node: Node | None) -> None:
        self.parent = parent
        self.name = name
        self.node = node
        self.rubbish: bytes | None = None  # what was here and is to be discarded, on the stage

    @property
    def is_long(self) -> bool:
        """Whether it takes long to see that it is a directory that shows nothing.

        A volume's own filesystem looks for itself.
        """
        node = self.node
        return isinstance(node, DirectoryNode) and node.cacheable and lists_long(node)


class Rename(NamedTuple):
    """A rename that is possible as things are; what it moves may have to be copied up first."""

    old: End
    new: End
    flags: int

    @property
    def moved(self) -> list[Node]:
        """What changes its name: one thing, or two that change places."""
        ends = (self.old, self.new) if self.flags & RENAME_EXCHANGE else (self.old,)
        return [end.node for end in ends if end.node is not None]

    @property
    def is_long(self) -> bool:
        """Whether it replaces a directory that is still to be looked through."""
        return not self.flags & RENAME_EXCHANGE and self.new.is_long


def plan(
    state: State,
    old_parent: DirectoryNode,
    old_name: bytes,
    new_parent: DirectoryNode,
    new_name: bytes,
    flags: int,
) -> Rename:
    """Look at both ends; raises what rename(2) raises before anything has changed.

    Not whether a large directory that would be replaced shows anything.
    """
    old, new = _ends(state, old_parent, old_name, new_parent, new_name, flags)
    if old.node is None or new.node is None or old.node.ino != new.node.ino:
        _refuse(state, old, new, exchange=bool(flags & RENAME_EXCHANGE))
    return Rename(old, new, flags)


def carry_out(state: State, planned: Rename) -> Steps[None] | None:
    """Rename as renameat2(2) does, atomically for whoever looks and whatever kills us.

    Nothing may have changed since it was planned. Returns steps that do it, where that takes long.
    """
    old, new, _ = planned
    if old.node is not None and new.node is not None and old.node.ino == new.node.ino:
        return None  # two names of one file stay
    if planned.is_long:
        return _carrying_out(state, planned)
    try:
        _carry_out(state, planned)
    finally:
        finished(_discarding(state, new))
    return None


def _carrying_out(state: State, planned: Rename) -> Steps[None]:
    """Look for names in steps, rename in one, and then remove what was replaced.

    The kernel lets nobody make a name in it meanwhile (fs/namei.c, vfs_rename).
    """
    old, new, flags = planned
    assert isinstance(new.node, DirectoryNode)
    yield from requiring_empty(new.node, apart=True)
    now = plan(state, old.parent, old.name, new.parent, new.name, flags)
    if _numbers(now) != _numbers(planned):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), new.name)
    try:
        _carry_out(state, now)
    except OSError:
        yield from _discarding(state, now.new)
        raise
    yield from _discarding(state, now.new)


def _discarding(state: State, replaced: End) -> Steps[None]:
    if replaced.rubbish is not None:
        yield from state.require_upper().discarding(replaced.rubbish)


def _numbers(planned: Rename) -> list[int | None]:
    ends = (planned.old, planned.new)
    return [None if end.node is None else end.node.ino for end in ends]


def _carry_out(state: State, planned: Rename) -> None:
    old, new, flags = planned
    for end in (old, new):
        copy_up_directory(state, end.parent)
    assert old.node is not None
    make_writable(state, old.node, need(state))
    if flags & RENAME_EXCHANGE:
        assert new.node is not None
        make_writable(state, new.node, need(state))
    for end in (old, new):
        if isinstance(end.node, FileNode):
            bring_name(state, end.node, end.parent, end.name)
    if flags & RENAME_EXCHANGE:
        _exchange(state, old, new)
    else:
        _move(state, old, new, flags)


def need(state: State) -> Need:
    """What of a file must be in the upper to be renamed."""
    return Need.ATTRIBUTES if state.spec.redirect_dir else Need.DATA


def _ends(
    state: State,
    old_parent: DirectoryNode,
    old_name: bytes,
    new_parent: DirectoryNode,
    new_name: bytes,
    flags: int,
) -> tuple[End, End]:
    if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), new_name)
    old = End(old_parent, old_name, require(state, old_parent, old_name))
    if flags & RENAME_EXCHANGE or new_name in new_parent.attached:
        return old, End(new_parent, new_name, require(state, new_parent, new_name))
    if new_parent.cacheable and is_reserved(new_name):
        raise ReservedName(new_name)
    new = End(new_parent, new_name, lookup(state, new_parent, new_name))
    if flags & RENAME_NOREPLACE and new.node is not None:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name)
    return old, new


def _refuse(state: State, old: End, new: End, *, exchange: bool) -> None:
    require_same_tree(old.parent, new.parent)
    _refuse_protected(state, old, new)
    if new.parent.removed:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), new.name)
    for end, other, moves in ((old, new, True), (new, old, exchange)):
        if isinstance(end.node, DirectoryNode):
            _refuse_directory(end.node, other)
            if moves and end.node.lowers and not state.spec.redirect_dir:
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), end.name)
    if new.node is None or exchange:
        return
    if isinstance(new.node, DirectoryNode):
        if not isinstance(old.node, DirectoryNode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), new.name)
        if not new.is_long:
            require_empty(new.node)
    elif isinstance(old.node, DirectoryNode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), new.name)


def _refuse_protected(state: State, old: End, new: End) -> None:
    assert old.node is not None
    require_deletable(state, old.parent, old.name, old.node)
    if new.node is None:
        require_takes_names(state, new.parent, new.name)
    else:
        require_deletable(state, new.parent, new.name, new.node)


def _refuse_directory(node: DirectoryNode, target: End) -> None:
    above: DirectoryNode | None = target.parent
    while above is not None:
        if above is node:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), target.name)
        above = above.parent


# Moving one thing.


def _move(state: State, old: End, new: End, asked: int) -> None:
    _mark_for(state, old, new.parent)
    with _replacing(state, new):
        _rename_on_disk(state, old, new, asked)
    _settle(state, old, new)


@contextmanager
def _replacing(state: State, new: End) -> Iterator[None]:
    """While the body puts something else under a name: what was there goes away in good order."""
    if isinstance(new.node, FileNode):
        with losing_name(state, new.node, new.parent, new.name):
            yield
    elif isinstance(new.node, DirectoryNode):
        with _losing_directory(state, new.node, new):
            yield
    else:
        yield


@contextmanager
def _losing_directory(state: State, node: DirectoryNode, new: End) -> Iterator[None]:
    parked = _make_way(state, node, new)
    try:
        with losing_directory(state, node, new.parent, new.name, is_parked=parked is not None):
            yield
    except OSError:
        if parked is not None:
            # What is in its place by now has its number, which is that of this inode.
            state.require_upper().keep(parked)
        raise
    if parked is not None:
        park(state, state.require_upper(), node, parked)


def _make_way(state: State, node: DirectoryNode, new: End) -> bytes | None:
    """Let an empty directory that is to be replaced be empty on disk as well.

    Whiteouts are all that can be in it: an opaque directory without them shows the same. Returns
    the name on the stage of one that has to lie there from now on.
    """
    upper, is_parked = state.upper, parks(state, node)
    if is_parked:
        upper = require_stage(upper, node.require_upper(), new.name)
    if upper is None or node.upper is None or node.upper.tree.plain:
        return None
    if not is_parked and not has_entries(node.upper.fd()):
        return None
    number = upper.tree.ino_of(node.upper.status())
    staged = upper.new_name()
    os.mkdir(staged, 0o700, dir_fd=upper.stage.fd())
    try:
        empty = HostDirectory(upper.tree, upper.stage, staged)
        inodes.copy_metadata(state.upper_ids, node.top, empty)
        upper.set_opaque(empty)
        new_number = upper.tree.ino_of(empty.status())
        upper.place(staged, new.parent.require_upper(), new.name, RENAME_EXCHANGE)
    except OSError:
        upper.discard(staged)
        raise
    # Should the rename fail, nothing below may show again, now that the whiteouts are gone.
    node.lowers, node.lower_index = (), None
    state.directories.drop(node.upper)
    state.table.origins.pop(number, None)
    state.table.origins[new_number] = node.ino
    if not is_parked:
        new.rubbish = staged
        return None
    return staged


def _rename_on_disk(state: State, old: End, new: End, asked: int) -> None:
    old_directory, new_directory = old.parent.require_upper(), new.parent.require_upper()
    leaves_whiteout = shown_below(old.parent, old.name)
    there = _there(new)
    upper = state.upper
    if upper is None or old_directory.tree.plain:
        # In a volume others may have taken the new name by now: RENAME_NOREPLACE tells.
        with owners_rules(state, old.parent):
            _renameat(old_directory, old.name, new_directory, new.name, asked)
        return
    covers_device = there is not None and there.found is Absence.WHITEOUT and not there.by_file
    flags = 0
    if covers_device and (leaves_whiteout or isinstance(old.node, DirectoryNode)):
        # The whiteout at the new name changes places with what moves there.
        flags = RENAME_EXCHANGE
    if leaves_whiteout and not flags:
        leaving = {
            WhiteoutStyle.DEVICE: _rename_leaving_whiteout,
            WhiteoutStyle.AUFS: _rename_leaving_file,
        }
        leaving[upper.style](upper, old, new)
    else:
        _renameat(old_directory, old.name, new_directory, new.name, flags)
    if flags and not leaves_whiteout:
        # The rename is done: a whiteout that stays where no layer has the name hides nothing.
        with suppress(OSError):
            os.unlink(old.name, dir_fd=old_directory.fd())
    if there is not None and there.by_file:
        upper.remove_twin(new_directory, new.name)


def _there(new: End) -> UpperState | None:
    """What the upper says of the new name; None where it is known to show what is replaced."""
    if new.node is not None and not new.parent.lowers:
        return None
    return upper_state(new.parent, new.name)


def _rename_leaving_whiteout(upper: Upper, old: End, new: End) -> None:
    old_directory, new_directory = old.parent.require_upper(), new.parent.require_upper()
    try:
        _renameat(old_directory, old.name, new_directory, new.name, RENAME_WHITEOUT)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        # A filesystem without RENAME_WHITEOUT: two steps, and the first must not lose the object.
        _renameat(old_directory, old.name, new_directory, new.name, 0)
        upper.add_whiteout(old_directory, old.name)


def _rename_leaving_file(upper: Upper, old: End, new: End) -> None:
    """First the whiteout: what the upper has beside it shows all the same, with its redirect."""
    old_directory = old.parent.require_upper()
    upper.add_whiteout(old_directory, old.name)
    try:
        _renameat(old_directory, old.name, new.parent.require_upper(), new.name, 0)
    except OSError:
        upper.remove_twin(old_directory, old.name)
        raise


def _renameat(
    old_directory: HostDirectory,
    old_name: bytes,
    new_directory: HostDirectory,
    new_name: bytes,
    flags: int,
) -> None:
    if old_directory.tree.plain:
        files.rename(old_directory.fd(), old_name, new_directory.fd(), new_name, flags)
    else:
        rename_as_owner(old_directory, old_name, new_directory, new_name, flags)


def _settle(state: State, old: End, new: End) -> None:
    """Let the nodes know where they are now."""
    node = old.node
    assert node is not None
    state.table.replace_name(node, (old.parent, old.name), (new.parent, new.name))
    if isinstance(node, DirectoryNode):
        node.require_upper().move(new.parent.require_upper(), new.name)


# Exchanging two.


def _exchange(state: State, old: End, new: End) -> None:
    _mark_for(state, old, new.parent)
    _mark_for(state, new, old.parent)
    old_directory, new_directory = old.parent.require_upper(), new.parent.require_upper()
    with owners_rules(state, old.parent):
        _renameat(old_directory, old.name, new_directory, new.name, RENAME_EXCHANGE)
    _settle(state, old, new)
    _settle(state, new, old)


# What something is found by in the layers, once it has moved.


def _mark_for(state: State, end: End, new_parent: DirectoryNode) -> None:
    """Let a directory keep what merges under it, and merge nothing else, at its new place.

    A metacopy keeps its data.
    """
    node = end.node
    if node is not None:
        mark_for_copy(state, node, new_parent)
    if isinstance(node, FileNode) and node.below is not None:
        _redirect_file(state, node, end, same_parent=end.parent is new_parent)
    if not isinstance(node, DirectoryNode) or state.upper is None:
        return
    if node.require_upper().tree.plain:
        return
    if node.lowers:
        _set_redirect(state.upper, node, same_parent=end.parent is new_parent)
    elif new_parent.is_merged:
        state.upper.set_opaque(node.require_upper())


def _set_redirect(upper: Upper, node: DirectoryNode, *, same_parent: bool) -> None:
    if node.redirect is not None and (same_parent or node.redirect.startswith(b"/")):
        return
    redirect = node.name if same_parent else _lower_path(node)
    if not _store_redirect(upper, node.require_upper(), redirect):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), node.name)
    node.redirect = redirect


def _redirect_file(state: State, node: FileNode, end: End, *, same_parent: bool) -> None:
    """Let a metacopy find its data from its new place; one that cannot gets it now.

    All names of a file share its redirect: only an absolute one is true of each.
    """
    place, below = node.writable, node.below
    assert below is not None
    relative = same_parent and place.status().st_nlink == 1
    if below.redirect is not None and (relative or below.redirect.startswith(b"/")):
        return
    name = below.redirect or end.name
    redirect = name if relative else _lower_path(end.parent).rstrip(b"/") + b"/" + name
    if _store_redirect(state.require_upper(), place, redirect):
        node.below = below._replace(redirect=redirect)
    else:
        make_writable(state, node, Need.DATA)


def _store_redirect(upper: Upper, item: HostObject, redirect: bytes) -> bool:
    """Set the xattr; False where it has no room for a long path."""
    try:
        upper.set_private(item, b"redirect", redirect)
    except OSError as error:
        if error.errno in _TOO_LARGE and len(redirect) > _SURE_TO_FIT_BYTES:
            return False
        raise
    return True


def _lower_path(node: DirectoryNode) -> bytes:
    """Where the layers have a directory: its path, or the nearest absolute redirect's, above."""
    components: list[bytes] = []
    here = node
    while here.parent is not None:
        components.append(here.redirect or here.name)
        if components[-1].startswith(b"/"):
            return b"/".join(reversed(components))
        here = here.parent
    return b"/" + b"/".join(reversed(components))
