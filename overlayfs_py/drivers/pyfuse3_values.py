"""The union's values as pyfuse3's, and the reverse."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pyfuse3

from overlayfs_py.drivers.callers import membership
from overlayfs_py.union.values import AttributeChange, Attributes

if TYPE_CHECKING:
    from overlayfs_py.union.nodes import Node

# The union is the only writer of all that is cacheable, so the kernel never needs to ask twice.
_FOREVER_S = 365 * 24 * 3600.0

# A file handle is the ino of its node, and this bit where the opener is privileged: the union
# has no open files, and a handle without a table can neither leak nor go stale.
_PRIVILEGED = 1 << 63
# Likewise where what is written goes to the end. An ino has that bit where a mount has 8192 trees.
_APPENDS = 1 << 61
# Likewise where the opener is in the group of a file with set-group-ID.
_MEMBER = 1 << 62


def file_info(
    node: Node, flags: int, *, privileged: bool, member: bool = False
) -> pyfuse3.FileInfo:
    """Return the answer to an open: pages stay cached where nobody else changes the file.

    What is appended to in a volume has none: a shared mapping's pages would arrive with the same
    handle, and not be told from what is to be appended.
    """
    appends = not node.cacheable and bool(flags & os.O_APPEND)
    handle = node.ino | _PRIVILEGED * privileged | _MEMBER * member | _APPENDS * appends
    return pyfuse3.FileInfo(
        fh=pyfuse3.FileHandleT(handle), direct_io=appends, keep_cache=node.cacheable
    )


def ino_of(handle: int) -> int:
    """Return the ino of the node that a file handle stands for."""
    return handle & ~(_PRIVILEGED | _MEMBER | _APPENDS)


def is_privileged(handle: int) -> bool:
    """Whether who opened the file may write it without losing its set-id bits."""
    return bool(handle & _PRIVILEGED)


def is_member(handle: int) -> bool:
    """Whether who opened the file is in its group, where that matters to set-group-ID."""
    return bool(handle & _MEMBER)


def appends(handle: int) -> bool:
    """Whether what is written goes to the end: others write the file, and O_APPEND was said."""
    return bool(handle & _APPENDS)


def lifetime_s(node: Node) -> float:
    """Return for how long the kernel may keep what it heard of a node, or of names in it."""
    return _FOREVER_S if node.cacheable else 0.0


def entry(attributes: Attributes, lifetime_s: float) -> pyfuse3.EntryAttributes:
    """Return attributes as pyfuse3 sends them; st_ino is the node id, too."""
    answer = pyfuse3.EntryAttributes()
    answer.st_ino = pyfuse3.InodeT(attributes.ino)
    answer.st_mode = pyfuse3.ModeT(attributes.mode)
    answer.st_nlink = attributes.nlink
    answer.st_uid = attributes.uid
    answer.st_gid = attributes.gid
    answer.st_rdev = attributes.rdev
    answer.st_size = attributes.size
    answer.st_blocks = attributes.blocks
    answer.st_blksize = attributes.blksize
    answer.st_atime_ns = attributes.atime_ns
    answer.st_mtime_ns = attributes.mtime_ns
    answer.st_ctime_ns = attributes.ctime_ns
    answer.entry_timeout = answer.attr_timeout = lifetime_s
    return answer


def absence(lifetime_s: float) -> pyfuse3.EntryAttributes:
    """Return the answer that makes the kernel remember that there is no such name."""
    answer = pyfuse3.EntryAttributes()
    answer.st_ino = pyfuse3.InodeT(0)
    answer.entry_timeout = lifetime_s
    return answer


def change(
    asked: pyfuse3.EntryAttributes, fields: pyfuse3.SetattrFields, ctx: pyfuse3.RequestContext
) -> AttributeChange:
    """Return what a SETATTR asks for."""
    kills = (fields.update_size or fields.update_uid or fields.update_gid) and ctx.uid != 0
    return AttributeChange(
        # With one of the others it is the kernel's own idea of what they clear.
        mode=stat.S_IMODE(asked.st_mode) if fields.update_mode and not kills else None,
        uid=asked.st_uid if fields.update_uid else None,
        gid=asked.st_gid if fields.update_gid else None,
        size=asked.st_size if fields.update_size else None,
        atime_ns=asked.st_atime_ns if fields.update_atime else None,
        mtime_ns=asked.st_mtime_ns if fields.update_mtime else None,
        kill_privileges=membership(ctx.gid, ctx.pid) if kills else None,
    )


def statistics(found: os.statvfs_result) -> pyfuse3.StatvfsData:
    """Return what statfs(2) says."""
    answer = pyfuse3.StatvfsData()
    answer.f_bsize = found.f_bsize
    answer.f_frsize = found.f_frsize
    answer.f_blocks = found.f_blocks
    answer.f_bfree = found.f_bfree
    answer.f_bavail = found.f_bavail
    answer.f_files = found.f_files
    answer.f_ffree = found.f_ffree
    answer.f_favail = found.f_favail
    answer.f_namemax = found.f_namemax
    return answer
