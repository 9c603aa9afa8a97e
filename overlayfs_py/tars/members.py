"""What a tar holds, entry by entry, as a layer means it."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from overlayfs_py.tars.paths import Path


class Kind(Enum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARD_LINK = "hard link"
    CHARACTER_DEVICE = "character device"
    BLOCK_DEVICE = "block device"
    FIFO = "fifo"
    WHITEOUT = "whiteout"  # `path` is deleted from the layers below
    PRIVATE = "private file"  # of aufs: shows only where a hard link names it
    OPAQUE = "opaque"  # the directory `path` hides what the layers below have there


class Segment(NamedTuple):
    """Where a stretch of a file's data belongs in the file."""

    offset: int
    length: int


class Member(NamedTuple):
    """One entry. What does not apply to its kind is 0 or empty."""

    path: Path  # of what it describes: never a `.wh.` name, unless `kind` is PRIVATE
    kind: Kind
    mode: int = 0o644  # permission bits, set-id and sticky among them
    uid: int = 0
    gid: int = 0
    mtime_ns: int = 0
    size: int = 0  # of a file, with its holes
    rdev: int = 0
    target: bytes = b""  # of a symlink, as it is
    link: Path = ()  # what a hard link names, below the root
    xattrs: tuple[tuple[bytes, bytes], ...] = ()  # sorted by name
    # Where a file's data lies, in order and not overlapping; what is between is a hole.
    segments: tuple[Segment, ...] = ()
    offset: int = 0  # of its first header in the tar


class Hole(NamedTuple):
    """A stretch of a file that reads as zeros and is not in the tar."""

    length: int
