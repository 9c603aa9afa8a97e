"""What kernel and daemon agree on at the start, and the requests refused for good."""

from __future__ import annotations

import struct

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.wire import protocol
from overlayfs_py.wire.errors import WireError
from overlayfs_py.wire.protocol import InitFlag, Opcode
from overlayfs_py.wire.requests import HEADER_SIZE, Features, Init

_INIT_OUT = struct.Struct("=IIIIHHIIHHIIH22x")

# ENOSYS to one of these is remembered for the whole mount, and meant so:
# - OPEN and OPENDIR: the kernel opens files and directories by itself from then on, with handle 0
#   and the page cache kept; no RELEASE ever comes.
# - FLUSH: nothing happens at close(2). ACCESS: the kernel checks permissions. POLL: files are
#   always ready. BMAP, SYNCFS: not for filesystems like this one. LSEEK: under write-back alone.
# - CREATE, where every open goes without a message: MKNOD comes instead.
# An opcode that is not known here is refused likewise: the kernel then does without.
LATCHES = frozenset(
    {
        Opcode.OPEN,
        Opcode.OPENDIR,
        Opcode.FLUSH,
        Opcode.ACCESS,
        Opcode.POLL,
        Opcode.BMAP,
        Opcode.SYNCFS,
        Opcode.LSEEK,
        Opcode.CREATE,
    }
)

_WANTED = (
    InitFlag.ASYNC_READ
    | InitFlag.BIG_WRITES
    | InitFlag.DONT_MASK  # the umask is ours to apply, or a default ACL instead of it
    | InitFlag.DO_READDIRPLUS
    | InitFlag.PARALLEL_DIROPS
    | InitFlag.MAX_PAGES
    | InitFlag.CACHE_SYMLINKS
    | InitFlag.HANDLE_KILLPRIV_V2
    | InitFlag.SETXATTR_EXT
    | InitFlag.INIT_EXT
)
# What costs data, to be agreed on with nobody:
# - ASYNC_DIO: what the kernel has cached under an O_DIRECT write is dropped before the write, and
#   after it only where the caller waited (mm/filemap.c, generic_file_direct_write). io_submit(2)
#   and io_uring do not, and what others read in between stays cached for ever.
# - ATOMIC_O_TRUNC: an open that truncates takes no lock of the file (fs/fuse/file.c, fuse_open),
#   so what is appended meanwhile goes to where the file ended before. Where OPEN is not sent the
#   truncation would be lost. Without it the kernel sends SETATTR with the size, under its lock.
_HARMFUL = InitFlag.ASYNC_DIO | InitFlag.ATOMIC_O_TRUNC
_FLAGS_AT = HEADER_SIZE + struct.calcsize("=III")  # struct fuse_init_in


class Wishes(NamedTuple):
    """What a mount wants beyond what every one does."""

    max_write: int = 1 << 20  # bytes of one READ or WRITE
    max_background: int = 64  # requests that the kernel sends ahead without waiting
    writeback: bool = False  # the kernel collects writes and sends them later
    # Others may change files behind the daemon's back: the kernel compares times and drops pages.
    foreign_changes: bool = False
    acls: bool = True
    passthrough: bool = False
    lookups: bool = False  # a name that was listed is looked up before it is used


class Session(NamedTuple):
    """An agreement."""

    minor: int
    flags: InitFlag
    features: Features
    max_write: int


class Agreement(NamedTuple):
    """The answer to INIT, and the session that it begins: None if the kernel must ask again."""

    payload: bytes
    session: Session | None


def negotiate(offer: Init, wishes: Wishes) -> Agreement:
    """Answer the kernel's offer.

    Raises:
        WireError: the kernel is older than any that this daemon can serve.
    """
    if offer.major > protocol.VERSION:
        # The kernel sends another INIT with the version that it finds here.
        return Agreement(_INIT_OUT.pack(protocol.VERSION, protocol.MINOR, *[0] * 11), None)
    if offer.major < protocol.VERSION or offer.minor < protocol.OLDEST_MINOR:
        oldest = f"{protocol.VERSION}.{protocol.OLDEST_MINOR}"
        raise WireError(
            f"the kernel speaks FUSE {offer.major}.{offer.minor}; {oldest} is the oldest served"
        )
    offered = InitFlag(offer.flags)
    agreed = offered & (_WANTED | _chosen(wishes))
    if wishes.lookups:
        agreed &= ~InitFlag.DO_READDIRPLUS
    max_write = wishes.max_write if agreed & InitFlag.MAX_PAGES else min(wishes.max_write, 1 << 17)
    payload = _INIT_OUT.pack(
        protocol.VERSION,
        min(offer.minor, protocol.MINOR),
        min(offer.max_readahead, wishes.max_write) or wishes.max_write,
        agreed & 0xFFFFFFFF,
        wishes.max_background,
        wishes.max_background * 3 // 4,
        max_write,
        1,  # times have a granularity of 1 ns
        max_write // 4096,
        0,
        agreed >> 32,
        1 if wishes.passthrough else 0,  # max_stack_depth: layers may be stacked once
        0,  # no request times out
    )
    session = Session(
        offer.minor,
        agreed | offered & (InitFlag.NO_OPEN_SUPPORT | InitFlag.NO_OPENDIR_SUPPORT),
        Features(setxattr_ext=bool(agreed & InitFlag.SETXATTR_EXT)),
        max_write,
    )
    return Agreement(payload, session)


def harmless(offer: bytes, *, foreign_changes: bool) -> bytes:
    """Return a message with an offer, INIT, without the flags that cost data.

    For a library that would agree to them by itself.
    """
    # Where a file's time has changed, by our own writes too, the kernel drops its pages, also one
    # of which a WRITE is under way: a READ that overtakes it brings the old data back, to stay.
    harmful = _HARMFUL if foreign_changes else _HARMFUL | InitFlag.AUTO_INVAL_DATA
    (flags,) = struct.unpack_from("=I", offer, _FLAGS_AT)
    kept = struct.pack("=I", flags & ~harmful)
    return offer[:_FLAGS_AT] + kept + offer[_FLAGS_AT + len(kept) :]


def _chosen(wishes: Wishes) -> InitFlag:
    chosen = InitFlag.AUTO_INVAL_DATA if wishes.foreign_changes else InitFlag.EXPLICIT_INVAL_DATA
    if wishes.acls:
        chosen |= InitFlag.POSIX_ACL
    if wishes.writeback:
        chosen |= InitFlag.WRITEBACK_CACHE
    if wishes.passthrough:
        chosen |= InitFlag.PASSTHROUGH
    return chosen
