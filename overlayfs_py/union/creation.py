"""New objects: files, directories, links, devices.

One system call in place where that gives the right object at once; otherwise made ready on the
stage and renamed, over the whiteout that was there if there was one.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.errors import ReservedName
from overlayfs_py.layers.host import HostDirectory, HostFile
from overlayfs_py.layers.marks import is_reserved, is_whiteout_device
from overlayfs_py.layers.values import Absence, Attributes
from overlayfs_py.layers.volume import open_object
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls.credentials import may_act_as_others
from overlayfs_py.syscalls.files import RENAME_EXCHANGE
from overlayfs_py.union import acl, inodes, volume_nodes
from overlayfs_py.union.acting import making_for, owners_rules
from overlayfs_py.union.copy_up import copy_up_directory, link
from overlayfs_py.union.lookup import Seen, look, shown_below, upper_node, upper_state
from overlayfs_py.union.nodes import FileNode
from overlayfs_py.union.opened import keep_open
from overlayfs_py.union.origins import mark_for_copy
from overlayfs_py.union.protection import require_changeable, require_takes_names
from overlayfs_py.union.write_access import make_writable

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostObject
    from overlayfs_py.union.lookup import UpperState
    from overlayfs_py.union.nodes import DirectoryNode, Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.upper import Upper
    from overlayfs_py.union.values import Creator

_CREATE = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_OPEN = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE_IN_VOLUME = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL_BITS = 0o7000


class Blueprint(NamedTuple):
    """All that a new object is to be, owner ids as on disk."""

    mode: int  # type and permission bits, umask or default ACL applied
    uid: int
    gid: int
    rdev: int = 0
    target: bytes = b""  # of a symbolic link
    access_acl: bytes | None = None
    default_acl: bytes | None = None  # that a directory hands on


def create(
    state: State,
    parent: DirectoryNode,
    name: bytes,
    mode: int,
    creator: Creator,
    *,
    rdev: int = 0,
    target: bytes = b"",
) -> Seen:
    """Create an object of the type in `mode`; EEXIST where the name is taken."""
    if is_whiteout_device(mode, rdev) and tree_of(parent) is None:
        raise PermissionError(errno.EPERM, "this device means a deletion", name)
    _require_possible(state, parent, name)
    require_takes_names(state, parent, name)
    if _is_native(state, parent, name, mode, creator):
        native = Blueprint(mode & ~creator.umask, -1, -1, rdev, target)
        try:
            return _create_native(state, parent, name, native)
        except FileExistsError:
            pass  # something that is shown, or a whiteout
    directory, there = prepare_name(state, parent, name)
    if not parent.cacheable:
        return _create_in_volume(state, parent, name, mode, creator, rdev, target)
    new = _blueprint(state, parent, directory, mode, creator, rdev, target)
    _create_staged(state.require_upper(), parent, directory, name, new, there)
    return _created(state, parent, name)


def create_temporary(state: State, parent: DirectoryNode, mode: int, creator: Creator) -> FileNode:
    """Create a regular file that no name shows yet, as open(2) with O_TMPFILE; `link` names it."""
    require_takes_names(state, parent, b"")
    directory = copy_up_directory(state, parent)
    new = _blueprint(state, parent, directory, mode, creator, 0, b"")
    upper = state.upper
    made_in = directory if upper is None or directory.tree.plain else upper.stage
    flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
    fd = os.open(b".", flags, 0o600, dir_fd=made_in.fd())
    held = state.nameless.keep_new(None if made_in is directory else upper, directory.tree, fd)
    try:
        _dress(held, new)
        found = held.attributes()
        node = FileNode(found.ino, found.mode, parent, b"", own=found.ino)
    except OSError:
        held.close()
        raise
    node.parent, node.cacheable = None, parent.cacheable
    state.keep_removed(node, held)
    return node


def make_link(state: State, node: FileNode, parent: DirectoryNode, name: bytes) -> Node:
    """Give a file one more name; EXDEV across the edge of a volume, ENOENT without a link left."""
    require_same_tree(node.parent or parent, parent)
    require_takes_names(state, parent, name)
    require_changeable(state, node)
    directory, there = prepare_name(state, parent, name)
    make_writable(state, node)
    mark_for_copy(state, node, parent)
    if node.index is not None:
        node.index.begin_change()
    _link_in_place(state, node, directory, name, there)
    state.table.add_name(node, parent, name)
    state.let_go(node)
    if state.upper is not None and there.by_file:
        state.upper.remove_twin(directory, name)
    return node


def _link_in_place(
    state: State, node: FileNode, directory: HostDirectory, name: bytes, there: UpperState
) -> None:
    upper = state.upper
    if there.found is Absence.MISSING or upper is None:
        with owners_rules(state, node):
            link(node.writable, directory, name)
        return
    staged = upper.new_name()
    link(node.writable, upper.stage, staged)
    upper.place(staged, directory, name)


def prepare_name(
    state: State, parent: DirectoryNode, name: bytes
) -> tuple[HostDirectory, UpperState]:
    """Let a new name be possible: the directory in the upper, nothing shown under the name."""
    _require_possible(state, parent, name)
    there = upper_state(parent, name)
    is_shown = isinstance(there.found, Attributes) or name in parent.attached
    if is_shown or (there.found is Absence.MISSING and shown_below(parent, name)):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
    # A directory that is only now copied up has nothing in it: what was seen holds still.
    return copy_up_directory(state, parent), there


def _require_possible(state: State, parent: DirectoryNode, name: bytes) -> None:
    if parent.cacheable and is_reserved(name):
        raise ReservedName(name)
    if parent.removed:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    if len(name) > state.name_max:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), name)


def require_same_tree(one: DirectoryNode, other: DirectoryNode) -> None:
    """Refuse to connect a volume with what is outside it."""
    if tree_of(one) is not tree_of(other):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def tree_of(node: DirectoryNode) -> object:
    """The tree that a directory belongs to: a volume's, or one value for the whole stack."""
    if node.upper is not None and node.upper.tree.plain:
        return node.upper.tree
    return None


def default_acl_of(parent: DirectoryNode) -> bytes:
    """The default ACL of a directory as on disk, b"" if it has none; remembered."""
    if parent.default_acl is None or not parent.cacheable:
        value = find_xattr(parent.require_upper(), acl.DEFAULT)
        parent.default_acl = value or b""
    return parent.default_acl


def _blueprint(
    state: State,
    parent: DirectoryNode,
    directory: HostDirectory,
    mode: int,
    creator: Creator,
    rdev: int,
    target: bytes,
) -> Blueprint:
    ids = state.upper_ids
    uid, gid = ids.disk_uid(creator.uid), ids.disk_gid(creator.gid)
    above = directory.attributes()
    if above.mode & stat.S_ISGID:
        gid = inodes.owner_on_disk(ids, directory, above)[1]
        if stat.S_ISDIR(mode):
            mode |= stat.S_ISGID
    if stat.S_ISLNK(mode):
        return Blueprint(stat.S_IFLNK | 0o777, uid, gid, target=target)
    default = b"" if directory.tree.override is not None else default_acl_of(parent)
    if not default:
        return Blueprint(mode & ~creator.umask, uid, gid, rdev)
    inherited = acl.inherit(default, mode)
    handed_on = default if stat.S_ISDIR(mode) else None
    return Blueprint(
        inherited.mode, uid, gid, rdev, access_acl=inherited.access, default_acl=handed_on
    )


def _is_native(
    state: State, parent: DirectoryNode, name: bytes, mode: int, creator: Creator
) -> bool:
    """Whether one system call in place makes exactly the object wanted, if nothing is there.

    Below a set-group-ID directory the host gives group and bit as we would.
    """
    directory = parent.upper
    if directory is None or directory.tree.plain or directory.tree.override is not None:
        return False
    if mode & _SPECIAL_BITS or (parent.is_merged and stat.S_ISDIR(mode)):
        return False
    if name in parent.attached or (parent.lowers and _is_known_below(parent, name)):
        return False
    ids = state.upper_ids
    owner = ids.disk_uid(creator.uid), ids.disk_gid(creator.gid)
    return owner == (os.geteuid(), os.getegid()) and not default_acl_of(parent)


def _is_known_below(parent: DirectoryNode, name: bytes) -> bool:
    """Whether a name means something to the layers, or to a whiteout file above them."""
    return parent.require_upper().deletes(name) or shown_below(parent, name)


def _create_native(state: State, parent: DirectoryNode, name: bytes, new: Blueprint) -> Seen:
    """Create in place; a regular file stays open, since it is written next."""
    directory = parent.require_upper()
    if not stat.S_ISREG(new.mode):
        _make(directory, name, new)
        return _created(state, parent, name)
    flags = _CREATE_OPEN | directory.tree.noatime
    fd = os.open(name, flags, stat.S_IMODE(new.mode), dir_fd=directory.fd())
    try:
        found = directory.tree.attributes_of(os.fstat(fd), None)
        node = _new_file(state, parent, name, found)
    except OSError:
        os.close(fd)
        raise
    node.protection = 0
    keep_open(state, node, directory.tree, fd)
    return Seen(node, found)


def _new_file(state: State, parent: DirectoryNode, name: bytes, found: Attributes) -> FileNode:
    """The node of a file that was just made, and so is a copy of nothing."""
    own, table = found.ino, state.table
    if table.knows(own) or own in table.origins:
        node = upper_node(state, parent, name, found)
        assert isinstance(node, FileNode)
        return node
    return FileNode(own, found.mode, parent, name, own=own)


def _make(directory: HostDirectory, name: bytes, new: Blueprint) -> None:
    """Create the bare object, with its type and permissions."""
    dir_fd = directory.fd()
    file_type = stat.S_IFMT(new.mode)
    if file_type == stat.S_IFREG:
        os.close(os.open(name, _CREATE, stat.S_IMODE(new.mode), dir_fd=dir_fd))
    elif file_type == stat.S_IFDIR:
        os.mkdir(name, stat.S_IMODE(new.mode), dir_fd=dir_fd)
    elif file_type == stat.S_IFLNK:
        os.symlink(new.target, name, dir_fd=dir_fd)
    else:
        os.mknod(name, new.mode, new.rdev, dir_fd=dir_fd)


def _make_stand_in(directory: HostDirectory, name: bytes, new: Blueprint) -> None:
    """Create what stands for the object in a tree with an override xattr: ours to open."""
    file_type = stat.S_IFMT(new.mode)
    if file_type == stat.S_IFDIR:
        _make(directory, name, new._replace(mode=stat.S_IFDIR | 0o700))
    elif file_type == stat.S_IFLNK:
        _make(directory, name, new)
    else:
        _make(directory, name, new._replace(mode=stat.S_IFREG | 0o600))


def _dress(item: HostObject, new: Blueprint) -> None:
    """Give a bare object its owner, mode and ACLs, in an order that undoes nothing."""
    if item.tree.override is not None:
        inodes.store_override(item, new.uid, new.gid, new.mode, new.rdev)
        return
    status = item.status()
    if (status.st_uid, status.st_gid) != (new.uid, new.gid):
        inodes.set_owner(item, new.uid, new.gid)
    if new.access_acl:
        inodes.set_xattr(item, acl.ACCESS, new.access_acl)
    if new.default_acl:
        inodes.set_xattr(item, acl.DEFAULT, new.default_acl)
    if not stat.S_ISLNK(new.mode) and item.status().st_mode != new.mode:
        inodes.set_mode(item, stat.S_IMODE(new.mode))


def _create_in_volume(
    state: State,
    parent: DirectoryNode,
    name: bytes,
    mode: int,
    creator: Creator,
    rdev: int,
    target: bytes,
) -> Seen:
    """Create in place, all at once: nothing is given away by its name, which may be another's.

    The host gives group and ACL as they are inherited there, and takes them for the umask.
    """
    directory = parent.require_upper()
    permissions = mode if default_acl_of(parent) else mode & ~creator.umask
    with making_for(state, creator):
        if stat.S_ISREG(mode):
            fd = os.open(name, _CREATE_IN_VOLUME, stat.S_IMODE(permissions), dir_fd=directory.fd())
        else:
            _make(directory, name, Blueprint(permissions, -1, -1, rdev, target))
            fd = open_object(directory.fd(), name)
    try:
        _finish_in_volume(state, parent, fd, permissions, creator)
        if not stat.S_ISREG(mode):
            return _created(state, parent, name)
        node, found = volume_nodes.adopt(state, parent, name, fd)
        keep_open(state, node, directory.tree, os.dup(fd))
        return Seen(node, found)
    finally:
        os.close(fd)


def _finish_in_volume(
    state: State, parent: DirectoryNode, fd: int, mode: int, creator: Creator
) -> None:
    """Give what no call that makes an object gives: by its creator's rights, in case it is not."""
    status = os.fstat(fd)
    path = b"/proc/self/fd/%d" % fd
    gid = state.upper_ids.disk_gid(creator.gid)
    inherits = parent.require_upper().status().st_mode & stat.S_ISGID
    if status.st_gid != gid and not inherits and not may_act_as_others():
        os.chown(path, -1, gid)
    missing = mode & _SPECIAL_BITS & ~status.st_mode
    if missing and stat.S_ISDIR(status.st_mode):
        with making_for(state, creator, owners_rules=True):
            os.chmod(path, stat.S_IMODE(status.st_mode) | missing)


def _create_staged(
    upper: Upper,
    parent: DirectoryNode,
    directory: HostDirectory,
    name: bytes,
    new: Blueprint,
    there: UpperState,
) -> None:
    staged = upper.new_name()
    make = _make if upper.tree.override is None else _make_stand_in
    is_opaque = stat.S_ISDIR(new.mode) and parent.is_merged
    # A mark is an xattr, and who is not privileged can set none on what may not be written.
    writable = stat.S_IWUSR if is_opaque else 0
    make(upper.stage, staged, new._replace(mode=new.mode & ~_SPECIAL_BITS | writable))
    try:
        if is_opaque:
            # Over a whiteout it must hide what that hid; elsewhere it spares readers a search.
            upper.set_opaque(HostDirectory(upper.tree, upper.stage, staged))
        _dress(HostFile(upper.stage, staged), new)
        _finish(upper, staged, directory, name, there)
    except OSError:
        upper.discard(staged)
        raise


def _finish(
    upper: Upper, staged: bytes, directory: HostDirectory, name: bytes, there: UpperState
) -> None:
    """Put a staged object in place, over a whiteout device or beside a whiteout file."""
    is_directory = stat.S_ISDIR(HostFile(upper.stage, staged).status().st_mode)
    if there.found is Absence.WHITEOUT and not there.by_file and is_directory:
        upper.place(staged, directory, name, RENAME_EXCHANGE)
        upper.discard(staged)
    else:
        upper.place(staged, directory, name)
    if there.by_file:
        upper.remove_twin(directory, name)


def _created(state: State, parent: DirectoryNode, name: bytes) -> Seen:
    seen = look(state, parent, name)
    if seen is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    seen.node.protection = 0  # nobody has set any
    return seen
