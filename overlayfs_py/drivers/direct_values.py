"""Turn what requests ask for into the union's values, and back."""

from __future__ import annotations

import errno
import os
import stat
import time
from typing import TYPE_CHECKING

from overlayfs_py.drivers.callers import membership
from overlayfs_py.union.values import AttributeChange
from overlayfs_py.wire import replies
from overlayfs_py.wire.protocol import SetattrValid

if TYPE_CHECKING:
    from overlayfs_py.union.core import Node
    from overlayfs_py.wire import requests


_OWNER = SetattrValid.UID | SetattrValid.GID
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LONGEST_COPY = 4 << 20  # bytes, 2 ms (measured, ext4); the caller goes on from where it ends


def copied_by_pages(wanted: requests.CopyFileRange, target_size: int) -> int:
    """How much of a COPY_FILE_RANGE to copy: whole pages, and what the file ends with.

    Afterwards the kernel drops all pages that the copy touches, with what a mapping has stored
    meanwhile beside it (fs/fuse/file.c, __fuse_copy_file_range, says so).
    """
    if wanted.offset_out % _PAGE:
        return 0
    length = min(wanted.length, _LONGEST_COPY)
    reaches_end = wanted.offset_out + length >= target_size
    return length if reaches_end else length // _PAGE * _PAGE


def ttl_s(node: Node) -> int:
    return replies.NEVER if node.cacheable else 0


def entry_size(name: bytes, *, plus: bool) -> int:
    return (128 if plus else 0) + (24 + len(name) + 7 & ~7)


def sized(value: bytes, room: int) -> bytes:
    """An xattr's value or length, as the caller's buffer asks for."""
    if room == 0:
        return replies.written(len(value))
    if len(value) > room:
        raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
    return value


def change_of(header: requests.Header, asked: requests.Setattr) -> AttributeChange:
    valid = asked.valid
    # A change of owner says nothing of it: the kernel leaves it to us in any case.
    kills = valid & SetattrValid.KILL_SUIDGID or (valid & _OWNER and header.uid != 0)
    now = time.time_ns() if valid & (SetattrValid.ATIME_NOW | SetattrValid.MTIME_NOW) else 0
    atime = now if valid & SetattrValid.ATIME_NOW else asked.atime_ns
    mtime = now if valid & SetattrValid.MTIME_NOW else asked.mtime_ns
    return AttributeChange(
        stat.S_IMODE(asked.mode) if valid & SetattrValid.MODE else None,
        asked.uid if valid & SetattrValid.UID else None,
        asked.gid if valid & SetattrValid.GID else None,
        asked.size if valid & SetattrValid.SIZE else None,
        atime if valid & (SetattrValid.ATIME | SetattrValid.ATIME_NOW) else None,
        mtime if valid & (SetattrValid.MTIME | SetattrValid.MTIME_NOW) else None,
        times_are_now=now != 0,
        kill_privileges=membership(header.gid, header.pid) if kills else None,
    )
