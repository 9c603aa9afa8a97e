"""Inode flags that forbid changes, chattr(1) `i` and `a`: of a layer's inode, and of the upper.

The kernel does not know those of a FUSE inode, so the union asks before each change what the
kernel asks of an inode (fs/namei.c, may_delete, may_create, vfs_link; fs/attr.c, may_setattr;
fs/xattr.c, xattr_permission). A layer's are obeyed as they are. In the upper they lie in the xattr
`overlay.protattr`, which copy-up writes as the kernel's does: as true flags they would stand
against every rename of ours (fs/overlayfs/util.c, ovl_check_protattr).
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.host import HostDirectory, HostFile, HostObject
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.syscalls import files
from overlayfs_py.union.nodes import DirectoryNode, FileNode

if TYPE_CHECKING:
    from overlayfs_py.layers.interface import LayerObject
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State

# linux/fs.h; linux/stat.h has the same bits for statx(2).
IMMUTABLE = 0x10
APPEND = 0x20
PROTECTING = IMMUTABLE | APPEND
# What copy-up carries over as it is: S and A (fs/overlayfs/overlayfs.h, OVL_COPY_FS_FLAGS_MASK).
_COPIED = 0x08 | 0x80
_KEY = b"protattr"
_LETTERS = ((APPEND, b"a"), (IMMUTABLE, b"i"))
_NO_FLAGS = (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL, errno.EACCES, errno.EPERM)


def protection(state: State, node: Node) -> int:
    """Return IMMUTABLE and APPEND of an object; read once, since we alone change it.

    In a volume the host's kernel obeys them.
    """
    if node.protection is None:
        node.protection = _read(state, node) if node.cacheable else 0
    return node.protection


def _read(state: State, node: Node) -> int:
    if isinstance(node, DirectoryNode):
        place: LayerObject = node.top
        in_layer = node.upper is None
    elif isinstance(node, FileNode):
        place, in_layer = node.place, node.lower is not None
    else:
        return 0
    if not isinstance(place, HostObject):
        return 0  # a pack keeps none
    if in_layer:
        return files.attribute_flags(place.path(), follow=place.reach()[2]) & PROTECTING
    return stored(state, place)


def stored(state: State, place: HostObject) -> int:
    """Return what the xattr of an object in the upper says."""
    value = None if state.upper is None else find_xattr(place, state.upper.prefix + _KEY)
    return sum(flag for flag, letter in _LETTERS if value is not None and letter in value)


def require_changeable(state: State, node: Node, *, times_are_now: bool = False) -> None:
    """Refuse to change an object's attributes, xattrs and links, but the times of `a` to now."""
    if protection(state, node) & (IMMUTABLE if times_are_now else PROTECTING):
        raise _refusal(node.name)


def require_openable(state: State, node: Node) -> None:
    """Refuse to open a file for anything but appending."""
    if protection(state, node):
        raise _refusal(node.name)


def require_takes_names(state: State, parent: DirectoryNode, name: bytes) -> None:
    """Refuse a new name in an immutable directory."""
    if parent.protection != 0 and protection(state, parent) & IMMUTABLE:
        raise _refusal(name)


def require_deletable(state: State, parent: DirectoryNode, name: bytes, node: Node) -> None:
    """Refuse to take a name away, by unlink(2), rmdir(2) or rename(2)."""
    if protection(state, parent) or protection(state, node):
        raise _refusal(name)


def _refusal(name: bytes) -> PermissionError:
    return PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)


# Carrying over.


def flags_of(state: State, place: LayerObject, file_type: int, fd: int | None = None) -> int:
    """Return the flags that a copy of `place` gets, and those that its xattr is to say.

    `fd` is the place itself where somebody has it open.
    """
    if not isinstance(place, HostObject) or file_type not in (stat.S_IFREG, stat.S_IFDIR):
        return 0
    try:
        found = _inode_flags(place) if fd is None else files.get_flags(fd)
    except OSError as error:
        if error.errno not in _NO_FLAGS:
            raise
        found = 0
    if place.tree.read_only:
        return found & (PROTECTING | _COPIED)
    return found & _COPIED | stored(state, place)


def give_flags(state: State, target: HostObject, flags: int) -> None:
    """Give a staged copy its flags; an upper that has no room for one does without.

    Source: fs/overlayfs/copy_up.c, ovl_copy_fileattr.
    """
    if flags & PROTECTING:
        store(state, target, flags)
    if flags & _COPIED:
        try:
            _add_flags(target, flags & _COPIED)
        except OSError as error:
            if error.errno not in _NO_FLAGS:
                raise


def store(state: State, place: HostObject, flags: int) -> None:
    """Let the xattr of an object in the upper say what protects it."""
    upper = state.require_upper()
    value = b"".join(letter for flag, letter in _LETTERS if flags & flag)
    if value:
        if not upper.takes_xattrs:
            raise _refusal(place.name)
        upper.set_private(place, _KEY, value)
    elif stored(state, place):
        upper.remove_private(place, _KEY)


def _inode_flags(place: HostObject) -> int:
    if isinstance(place, HostDirectory):
        return files.get_flags(place.fd())
    assert isinstance(place, HostFile)
    fd = place.open_inode(os.O_RDONLY)
    try:
        return files.get_flags(fd)
    finally:
        os.close(fd)


def _add_flags(place: HostObject, flags: int) -> None:
    if isinstance(place, HostDirectory):
        files.set_flags(place.fd(), files.get_flags(place.fd()) | flags)
        return
    assert isinstance(place, HostFile)
    fd = place.open_inode(os.O_RDONLY)
    try:
        files.set_flags(fd, files.get_flags(fd) | flags)
    finally:
        os.close(fd)
