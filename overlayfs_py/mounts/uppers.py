"""Empty uppers, which are at first what the layers below show."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from overlayfs_py.layers.reserved_xattrs import is_users
from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.packs.format import ROOT
from overlayfs_py.packs.pack import Pack, is_pack

if TYPE_CHECKING:
    from overlayfs_py.union.values import StackSpec


class _Root(NamedTuple):
    mode: int
    uid: int
    gid: int


def make_upper(upper: bytes, like: bytes) -> None:
    """Make an empty upper, its root as a layer's; one that is there stays.

    Of a layer that was an upper it gets all that a copy would.
    """
    try:
        os.mkdir(upper)
    except FileExistsError:
        return
    root = _root_of(like)
    try:
        os.chown(upper, root.uid, root.gid)
    except OSError as error:
        # In a user namespace: an owner that it does not map.
        if error.errno not in (errno.EPERM, errno.EINVAL):
            raise
    os.chmod(upper, stat.S_IMODE(root.mode))
    if os.path.isdir(like):
        _copy_the_rest(upper, like)


def _copy_the_rest(upper: bytes, like: bytes) -> None:
    for name in map(os.fsencode, os.listxattr(like)):
        if is_users(name):
            with suppress(PermissionError):
                os.setxattr(upper, name, os.getxattr(like, name))
    status = os.stat(like)
    os.utime(upper, ns=(status.st_atime_ns, status.st_mtime_ns))


def throwaway_upper(spec: StackSpec, scratch: bytes) -> StackSpec:
    """Return the stack with an upper in an empty directory, which is not worth a sync.

    Nobody mounts it again, so that metacopies, which the kernel reads only if told to, do no harm.
    """
    upper, work = os.path.join(scratch, b"upper"), os.path.join(scratch, b"work")
    make_upper(upper, like=spec.lower[0])
    os.mkdir(work)
    return spec._replace(
        upper=upper, work=work, volatile=True, metacopy=spec.redirect_dir or spec.metacopy
    )


def _root_of(layer: bytes) -> _Root:
    if is_pack(layer):
        with Pack(layer) as pack:
            inode = pack.index.inode(ROOT)
            return _Root(inode.mode, inode.uid, inode.gid)
    status = os.stat(layer)
    return _Root(status.st_mode, status.st_uid, status.st_gid)
