"""Attributes and extended attributes as the users of a union see and set them."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from overlayfs_py.errors import ReservedXattr
from overlayfs_py.layers.host import HostDirectory, HostFile, HostObject
from overlayfs_py.layers.marks import FUSE_OVERLAYFS_PREFIXES
from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.layers.reserved_xattrs import disk_name, seen_name
from overlayfs_py.layers.skeleton import SkeletonDirectory
from overlayfs_py.layers.values import Attributes
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.syscalls import files
from overlayfs_py.union import acl, contents, inodes
from overlayfs_py.union.acting import group_for_mode, owners_rules
from overlayfs_py.union.nodes import DirectoryNode, FileNode
from overlayfs_py.union.opened import opened
from overlayfs_py.union.protection import PROTECTING, protection, require_changeable
from overlayfs_py.union.protection import store as store_protection
from overlayfs_py.union.values import Need
from overlayfs_py.union.write_access import make_writable

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from overlayfs_py.layers.interface import LayerObject
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State
    from overlayfs_py.union.values import AttributeChange

_ACLS = (acl.ACCESS, acl.DEFAULT)


def attributes(state: State, node: Node) -> Attributes:
    """Return what stat(2) shows of a node."""
    return as_shown(state, node, place_of(state, node).attributes())


def as_shown(state: State, node: Node, found: Attributes) -> Attributes:
    """Turn what the place of a node says into what the union shows."""
    if found.ino != node.ino:
        found = tuple.__new__(Attributes, (node.ino, *found[1:]))  # a third of `_replace`
    ids = state.spec.ids
    if ids.squash_uid is not None:
        found = found._replace(uid=ids.squash_uid)
    if ids.squash_gid is not None:
        found = found._replace(gid=ids.squash_gid)
    if isinstance(node, DirectoryNode):
        links = _directory_links(state, node, found.nlink)
        return found if links == found.nlink else found._replace(nlink=links)
    if isinstance(node, FileNode) and node.below is not None:
        found = found._replace(blocks=node.below.blocks)
    removed = state.removed_links.get(node.ino)
    if removed is None:
        return found
    # A layer cannot take note of it, so the union does, for as long as it is mounted.
    links = max(0, found.nlink - removed.links)
    return found._replace(nlink=links, ctime_ns=max(found.ctime_ns, removed.ctime_ns))


def place_of(state: State, node: Node) -> LayerObject:
    """Where a node's inode is: by its descriptor if it is open, which spares looking for it."""
    if isinstance(node, DirectoryNode):
        return node.top
    assert isinstance(node, FileNode)
    return node.lower or opened(state, node) or node.place


def _directory_links(state: State, node: DirectoryNode, on_disk: int) -> int:
    """A merged directory's links cannot be counted cheaply: 1 says so to find(1) and its like."""
    if node.removed:
        return 0
    merged = len(node.lowers) + (node.upper is not None) > 1
    return 1 if merged or node.attached or state.spec.static_nlink else on_disk


def change_attributes(state: State, node: Node, change: AttributeChange) -> Attributes:
    """Set attributes, in the order that a single chown, chmod, truncate or utimens would."""
    if change.changes_nothing:
        return attributes(state, node)
    if node.protection != 0:  # not read yet, or there is some
        require_changeable(state, node, times_are_now=change.only_sets_times_to_now)
    if change.size is not None:
        contents.truncate(state, node, change.size)
    if change.kill_privileges is not None:
        contents.kill_privileges(state, node, change.kill_privileges)
    place = _changeable(state, node)
    ids = state.upper_ids
    if change.uid is not None or change.gid is not None:
        uid = -1 if change.uid is None else ids.disk_uid(change.uid)
        gid = -1 if change.gid is None else ids.disk_gid(change.gid)
        if node.cacheable:
            inodes.set_owner(place, uid, gid)
        else:
            with owners_rules(state, node, gid=None if gid == -1 else gid):
                inodes.set_owner(place, uid, gid)
    if change.mode is not None:
        _set_mode(state, node, place, stat.S_IMODE(change.mode))
    if change.atime_ns is not None or change.mtime_ns is not None:
        atime_ns, mtime_ns = change.atime_ns, change.mtime_ns
        if atime_ns is None or mtime_ns is None:
            known = place.status()
            atime_ns = known.st_atime_ns if atime_ns is None else atime_ns
            mtime_ns = known.st_mtime_ns if mtime_ns is None else mtime_ns
        _set_times(state, node, place, atime_ns, mtime_ns)
    return as_shown(state, node, place.attributes())


def _set_mode(state: State, node: Node, place: HostObject, mode: int) -> None:
    if node.cacheable:
        inodes.set_mode(place, mode)
        return
    gid = group_for_mode(state, place.status().st_gid) if mode & stat.S_ISGID else None
    with owners_rules(state, node, gid=gid):
        inodes.set_mode(place, mode)


def _set_times(state: State, node: Node, place: HostObject, atime_ns: int, mtime_ns: int) -> None:
    """Set both times: in a volume who is not the owner may set the present time alone."""
    if node.cacheable:
        inodes.set_times(place, atime_ns, mtime_ns)
        return
    try:
        with owners_rules(state, node):
            inodes.set_times(place, atime_ns, mtime_ns)
    except PermissionError:
        now_ns = time.time_ns()
        inodes.set_times(place, now_ns, now_ns)


def _changeable(state: State, node: Node) -> HostObject:
    """Where a node's attributes may be changed: use it at once."""
    place = opened(state, node)
    if place is not None:
        return place
    writable = make_writable(state, node, Need.ATTRIBUTES)
    return opened(state, node) or writable  # what was copied up for it is open now


def birth_time_ns(state: State, node: Node) -> int | None:
    """When the object was made on its filesystem; copy-up makes it anew. None if unknown."""
    place = place_of(state, node)
    if not isinstance(place, HostObject):
        return None
    return files.birth_time_ns(place.path(), follow=place.reach()[2])


def get_flags(state: State, node: Node) -> int:
    """Return an inode's flags, as lsattr(1) shows them; a pack keeps none."""
    if not isinstance(place_of(state, node), HostObject | SkeletonDirectory):
        return 0
    if isinstance(node, FileNode) and node.below is not None and isinstance(node.place, HostFile):
        fd = node.place.open_inode(os.O_RDONLY)
        try:
            found = files.get_flags(fd)
        finally:
            os.close(fd)
    else:
        found = files.get_flags(_flags_fd(state, node))
    if not node.cacheable:
        return found
    return found & ~PROTECTING | protection(state, node)


def set_flags(state: State, node: Node, flags: int) -> None:
    """Set an inode's flags, as chattr(1) does; those that protect it go to an xattr."""
    place = make_writable(state, node)
    fd = _flags_fd(state, node)
    if node.cacheable:
        store_protection(state, place, flags)
        node.protection = flags & PROTECTING
        flags &= ~PROTECTING
    with owners_rules(state, node):
        files.set_flags(fd, flags)
    # Whether a file may be written is asked when it is opened (fs/namei.c, may_open).
    state.readers.drop(node)


def _flags_fd(state: State, node: Node) -> int:
    if isinstance(node, DirectoryNode) and isinstance(node.top, HostDirectory):
        return node.top.fd()
    if isinstance(node, FileNode) and node.type == stat.S_IFREG:
        reader = contents.reader_of(state, node)
        if isinstance(reader, DescriptorReader):
            return reader.fd
    raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY), node.name)


# Extended attributes.


def list_xattrs(state: State, node: Node) -> list[bytes]:
    """Return the names that users may see: none of overlay's own, escaped ones as given."""
    listed = place_of(state, node).list_xattrs()
    if not listed or not node.cacheable:
        return listed  # as the host has them
    return [name for name in map(seen_name, listed) if name is not None]


def lacks_xattr(state: State, node: Node, name: bytes) -> bool:
    """Whether `get_xattr` surely raises ENODATA: what most are answered who ask, and cheaper."""
    if node.cacheable:
        if name.startswith(FUSE_OVERLAYFS_PREFIXES):
            return True
        if state.spec.xattr_permissions and name in _ACLS:  # `_hides_acls`
            return True
        name = disk_name(name)
    return place_of(state, node).lacks_xattr(name)


def get_xattr(state: State, node: Node, name: bytes) -> bytes:
    """Return a value; ENODATA where there is none, EOPNOTSUPP where there can be none."""
    if _is_hidden(node, name):
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name)
    if name in _ACLS:
        return _get_acl(state, node, name)
    return place_of(state, node).get_xattr(_disk_name(node, name))


def _get_acl(state: State, node: Node, name: bytes) -> bytes:
    """Return an ACL; ENODATA also where there can be none.

    The kernel asks for it before it lets anyone but the owner in, and takes any other error for
    a refusal.
    """
    value = None if _hides_acls(state, node) else find_xattr(place_of(state, node), name)
    if value is None:
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA), name)
    ids = state.upper_ids
    return value if ids.changes_nothing else acl.with_ids(value, ids.seen_uid, ids.seen_gid)


def set_xattr(state: State, node: Node, name: bytes, value: bytes, flags: int) -> None:
    """Set a value; overlay's own names are stored escaped, so that a nested overlay works."""
    if _is_hidden(node, name):
        raise ReservedXattr(name)
    if name in _ACLS:
        _require_acls(state, node)
        ids = state.upper_ids
        if not ids.changes_nothing:
            value = acl.with_ids(value, ids.disk_uid, ids.disk_gid)
        flags = 0  # an ACL is always there to be replaced (fs/posix_acl.c, vfs_set_acl)
    require_changeable(state, node)
    place = _changeable(state, node)
    with _rules_of(state, node, name):
        inodes.set_xattr(place, _disk_name(node, name), value, flags)
    _forget_default_acl(node, name)


def remove_xattr(state: State, node: Node, name: bytes) -> None:
    """Remove a value; ENODATA where there is none, without copying anything up."""
    require_changeable(state, node)
    if name not in _ACLS or _lies_in_a_layer(node):
        get_xattr(state, node, name)
    # Of a file that lies in the upper, its filesystem says whether having no ACL is an error; the
    # kernel draws the same line (fs/overlayfs/inode.c, ovl_set_or_remove_acl).
    place = _changeable(state, node)
    with _rules_of(state, node, name):
        inodes.remove_xattr(place, _disk_name(node, name))
    _forget_default_acl(node, name)


def _lies_in_a_layer(node: Node) -> bool:
    if isinstance(node, DirectoryNode):
        return node.upper is None
    return isinstance(node, FileNode) and node.lower is not None


def _forget_default_acl(node: Node, name: bytes) -> None:
    if name == acl.DEFAULT and isinstance(node, DirectoryNode):
        node.default_acl = None


def _rules_of(state: State, node: Node, name: bytes) -> AbstractContextManager[None]:
    """An ACL is the owner's to set; for others the kernel has just asked who may write."""
    return owners_rules(state, node) if name in _ACLS else nullcontext()


def _hides_acls(state: State, node: Node) -> bool:
    """Where modes are kept in an xattr the real ACL would say nothing of the shown mode."""
    return bool(state.spec.xattr_permissions) and node.cacheable


def _require_acls(state: State, node: Node) -> None:
    if _hides_acls(state, node):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def _disk_name(node: Node, name: bytes) -> bytes:
    return disk_name(name) if node.cacheable else name


def _is_hidden(node: Node, name: bytes) -> bool:
    return node.cacheable and name.startswith(FUSE_OVERLAYFS_PREFIXES)
