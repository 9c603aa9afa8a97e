"""What goes into a pack, and what comes of writing one."""

from __future__ import annotations

import os
import stat
from typing import NewType

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.packs.format import LEAST_CHUNK_LOG2, MOST_CHUNK_LOG2

FAST = 0
_MOST_LEVEL = 12

# The place of an object in a pack's table of inodes. The root is 0; a number never changes its
# meaning, and stays readable when a later object takes its name.
InodeNumber = NewType("InodeNumber", int)

Path = tuple[bytes, ...]  # components below the root, which is ()


def shown(path: Path) -> str:
    """Return a path as messages name it."""
    return os.fsdecode(b"/" + b"/".join(path))


class PackOptions:
    """How a pack is written; the same options, input and lz4 library give the same bytes."""

    __slots__ = ("chunk_log2", "level")

    def __init__(self, level: int = FAST, chunk_log2: int = 17) -> None:
        """`level` is FAST, or 1 to 12: lz4's high compression, slower to write, as fast to read.

        Chunks have 2 to the `chunk_log2`, 12 to 20, bytes.
        """
        if not FAST <= level <= _MOST_LEVEL:
            raise ValueError(f"an lz4 level is 0 (fast) or 1 to {_MOST_LEVEL}")
        if not LEAST_CHUNK_LOG2 <= chunk_log2 <= MOST_CHUNK_LOG2:
            raise ValueError(f"a chunk has 2 to the {LEAST_CHUNK_LOG2} to {MOST_CHUNK_LOG2} bytes")
        self.level = level
        self.chunk_log2 = chunk_log2

    @property
    def chunk_size(self) -> int:
        """Bytes of a full chunk."""
        return 1 << self.chunk_log2


class Metadata(NamedTuple):
    """Owner, permissions, times and xattrs of one object."""

    mode: int = 0o644  # the permission bits, set-id and sticky among them; others are ignored
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0  # since the epoch, maybe before it
    atime_ns: int | None = None  # None: as mtime
    # Each name once, in any order; POSIX ACLs as system.posix_acl_access and _default in the
    # kernel's form. Kept as they are, `trusted.overlay.redirect` too; opaqueness is the writer's
    # to mark.
    xattrs: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def permissions(self) -> int:
        """The bits of `mode` that count."""
        return stat.S_IMODE(self.mode)


class Hole(NamedTuple):
    """A stretch of a file that reads as zeros and takes no room."""

    length: int


DataOrHole = bytes | bytearray | memoryview | Hole


class Counts(NamedTuple):
    """How many of each there are."""

    names: int  # whiteouts not among them; a hard link is one more name
    directories: int  # the root among them
    files: int
    symlinks: int
    others: int  # devices, FIFOs, sockets
    whiteouts: int
    replaced: int  # objects that lost their name to a later one


class PackSummary(NamedTuple):
    """A finished pack."""

    digest: bytes  # SHA-256 that covers all of it; it changes with options and lz4's version
    counts: Counts
    data_bytes: int  # of all files, without holes, replaced ones among them
    chunks: int
    stored_bytes: int  # of all chunks
    index_bytes: int
    file_size: int
