"""Asking for xattrs where there may be none."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers import marks
from overlayfs_py.layers.owner_rights import do_as_owner

if TYPE_CHECKING:
    from overlayfs_py.layers.interface import LayerFile, LayerObject
    from overlayfs_py.layers.marks import MarkNames
    from overlayfs_py.layers.values import Metacopy


def find_xattr(item: LayerObject, name: bytes) -> bytes | None:
    """Return an xattr's value, None where the object has none or can have none."""
    if item.lacks_xattr(name):
        return None
    try:
        return item.get_xattr(name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM):
            return None
        raise


def get_xattr_of(
    of: bytes | int, name: bytes, *, follow: bool = True, as_owner: bool = True
) -> bytes:
    """Return a value; with `as_owner` the owner, who is us, reads it whatever the mode says."""
    try:
        return os.getxattr(of, name, follow_symlinks=follow)
    except PermissionError as refusal:
        if not as_owner:
            raise
        return do_as_owner(refusal, lambda: os.getxattr(of, name, follow_symlinks=follow))


def list_xattrs_of(of: bytes | int, *, follow: bool = True) -> list[bytes]:
    """Return the names of xattrs, none where the filesystem has none: FUSE's often say so."""
    try:
        names = os.listxattr(of, follow_symlinks=follow)
        return [os.fsencode(name) for name in names] if names else []
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return []
        raise


def lacks_data(fd: int, heeded: MarkNames) -> bool:
    """Whether a file is a metacopy: attributes over the data of a layer below.

    Size and blocks do not tell: its xattrs may take a block, and a killed copy-up may have left
    some of its data. Asking takes 0.3 us (measured, ext4).
    """
    names = list_xattrs_of(fd)
    return bool(names) and any(name in heeded.metacopy for name in names)


def find_metacopy(file: LayerFile, name: bytes) -> Metacopy | None:
    """Return what a regular file says of where its data lies, None if that is its own."""
    return marks.read_metacopy(file.list_xattrs(), file.get_xattr, name, file.mark_names)
