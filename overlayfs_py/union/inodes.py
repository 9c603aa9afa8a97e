"""Changing the inode of an object in a writable tree: owner, mode, times, xattrs.

Ids and modes are as on disk. In a tree with an override xattr the real owner and mode stay what
they are, and the xattr takes the new ones.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.layers.override_stat import (
    Override,
    format_override,
    parse_override,
)
from overlayfs_py.layers.owner_rights import do_as_owner
from overlayfs_py.layers.reserved_xattrs import is_users
from overlayfs_py.layers.xattrs import find_xattr
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostObject
    from overlayfs_py.layers.ids import IdMap
    from overlayfs_py.layers.interface import LayerObject
    from overlayfs_py.layers.values import Attributes

_PRIVILEGES = stat.S_ISUID | stat.S_ISGID


def set_owner(item: HostObject, uid: int, gid: int) -> None:
    """Set the owner; -1 leaves one id as it is. Clears privileges of files as chown(2) does."""
    if item.tree.override is None:
        path, dir_fd, follow = item.reach()
        os.chown(path, uid, gid, dir_fd=dir_fd, follow_symlinks=follow)
        return
    old = _overridden(item)
    mode = old.mode
    if stat.S_ISLNK(mode):
        return  # no user xattr can be on a link: it keeps its owner, and unpacking must go on
    if not stat.S_ISDIR(mode):
        mode &= ~stat.S_ISUID
        if mode & stat.S_IXGRP:
            mode &= ~stat.S_ISGID
    new = Override(old.uid if uid == -1 else uid, old.gid if gid == -1 else gid, mode, old.rdev)
    _store(item, new)


def set_mode(item: HostObject, mode: int) -> None:
    """Set the permission bits of anything but a symbolic link."""
    if item.tree.override is not None:
        old = _overridden(item)
        _store(item, old._replace(mode=stat.S_IFMT(old.mode) | stat.S_IMODE(mode)))
        return
    path, dir_fd, follow = item.reach()
    if follow:
        os.chmod(path, mode)
    else:
        assert dir_fd is not None
        assert isinstance(path, bytes)
        files.chmod(dir_fd, path, mode)


def set_times(item: HostObject, atime_ns: int, mtime_ns: int) -> None:
    """Set both times."""
    path, dir_fd, follow = item.reach()
    os.utime(path, ns=(atime_ns, mtime_ns), dir_fd=dir_fd, follow_symlinks=follow)


def set_xattr(item: HostObject, name: bytes, value: bytes, flags: int = 0) -> None:
    """Set an xattr by its name on disk."""
    path, follow = item.reach_xattrs()
    try:
        os.setxattr(path, name, value, flags, follow_symlinks=follow)
    except PermissionError as refusal:
        if item.tree.plain:
            raise
        do_as_owner(refusal, lambda: os.setxattr(path, name, value, flags, follow_symlinks=follow))


def remove_xattr(item: HostObject, name: bytes) -> None:
    """Remove an xattr by its name on disk; ENODATA if there is none."""
    path, follow = item.reach_xattrs()
    try:
        os.removexattr(path, name, follow_symlinks=follow)
    except PermissionError as refusal:
        if item.tree.plain:
            raise
        do_as_owner(refusal, lambda: os.removexattr(path, name, follow_symlinks=follow))


def store_override(item: HostObject, uid: int, gid: int, mode: int, rdev: int) -> None:
    """Give an object its presented owner, mode, type and device; not possible on a link."""
    if not stat.S_ISLNK(item.status().st_mode):
        _store(item, Override(uid, gid, mode, rdev))


class Metadata(NamedTuple):
    """All that a copy gets but its data, owner ids as on disk."""

    known: Attributes
    owner: tuple[int, int]
    xattrs: list[tuple[bytes, bytes]]


def metadata_of(ids: IdMap, source: LayerObject, known: Attributes) -> Metadata:
    """Read what a copy of `source`, of which `known` is what is shown, is to get."""
    xattrs = [(name, source.get_xattr(name)) for name in source.list_xattrs() if is_users(name)]
    return Metadata(known, owner_on_disk(ids, source, known), xattrs)


def give_metadata(target: HostObject, metadata: Metadata) -> None:
    """Give it to a staged object; times last, since each step changes them."""
    known, owner = metadata.known, metadata.owner
    if target.tree.override is None:
        set_owner(target, *owner)
    else:
        store_override(target, *owner, known.mode, known.rdev)
    for name, value in metadata.xattrs:
        _give_xattr(target, name, value)
    # After the xattrs: who is not privileged can set none on a file that is read-only.
    if target.tree.override is None and not stat.S_ISLNK(known.mode):
        set_mode(target, stat.S_IMODE(known.mode))
    set_times(target, known.atime_ns, known.mtime_ns)


def copy_metadata(ids: IdMap, source: LayerObject, target: HostObject) -> None:
    """Give a staged object everything but data."""
    give_metadata(target, metadata_of(ids, source, source.attributes()))


def owner_on_disk(ids: IdMap, source: LayerObject, known: Attributes) -> tuple[int, int]:
    """Return the owner to write for a copy of `source`, of which `known` is what is shown.

    An id that no range holds is shown as another, and stays what it is.
    """
    stored = None if ids.changes_nothing else source.owner_behind(ids)
    return stored or (ids.disk_uid(known.uid), ids.disk_gid(known.gid))


def _give_xattr(target: HostObject, name: bytes, value: bytes) -> None:
    """Copy one xattr; a filesystem that has no room for its kind does without, as the kernel's."""
    try:
        set_xattr(target, name, value)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM) or name.startswith(b"user."):
            raise


def _overridden(item: HostObject) -> Override:
    status = item.status()
    assert item.tree.override is not None
    value = find_xattr(item, item.tree.override)
    known = None if value is None else parse_override(value, status)
    return known or Override(status.st_uid, status.st_gid, status.st_mode, status.st_rdev)


def _store(item: HostObject, override: Override) -> None:
    assert item.tree.override is not None
    set_xattr(item, item.tree.override, format_override(override))
