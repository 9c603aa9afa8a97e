"""The values every layer answers with, whatever it is made of."""

from __future__ import annotations

from enum import Enum

from overlayfs_py.named_tuple import NamedTuple

# Inode numbers of a mount: what tells apart filesystems above, their own numbers below.
INO_BITS = 48


class Attributes(NamedTuple):
    """What stat(2) says of one object. Times are nanoseconds since the epoch."""

    ino: int  # unique within the mount, the same before and after copy-up
    mode: int  # type and permission bits
    nlink: int
    uid: int
    gid: int
    rdev: int
    size: int  # bytes
    blocks: int  # of 512 bytes
    blksize: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class Absence(Enum):
    """Why a directory of one layer does not show a name."""

    MISSING = "missing"  # a layer below may show it
    WHITEOUT = "whiteout"  # no layer below does


Finding = Attributes | Absence

# The type of an `Entry` that is a whiteout; every other type is one of stat's S_IF* constants.
WHITEOUT_TYPE = 0


class Entry(NamedTuple):
    """One name of a directory in one layer, as its listing tells it."""

    name: bytes
    type: int  # S_IFDIR, S_IFREG, ... or WHITEOUT_TYPE: `name` is deleted from the layers below


class Marks(NamedTuple):
    """What a directory says about the layers below it."""

    opaque: bool  # nothing below is merged
    redirect: bytes | None  # where its lower directories lie: a sibling's name or an absolute path
    impure: bool = False  # what is in it may be a copy, which tells its origin


NO_MARKS = Marks(opaque=False, redirect=None)


class Metacopy(NamedTuple):
    """What a file says that has attributes only: its data is in a file of the layers below."""

    redirect: bytes | None  # where that lies: a sibling's name or an absolute path; None: same name


class Trail(NamedTuple):
    """A path by its last step: as cheap to keep at any depth, where a tree has many."""

    above: Trail | None  # None: the root
    name: bytes

    def path(self) -> tuple[bytes, ...]:
        """Return its components."""
        names = []
        here: Trail | None = self
        while here is not None:
            names.append(here.name)
            here = here.above
        return tuple(reversed(names))
