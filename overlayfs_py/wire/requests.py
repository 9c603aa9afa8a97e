"""Reading requests: a header and, by opcode, a body.

Numbers are in the byte order of the machine; kernel and daemon share one.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from overlayfs_py.named_tuple import NamedTuple
from overlayfs_py.wire.errors import WireError
from overlayfs_py.wire.protocol import Opcode

if TYPE_CHECKING:
    from collections.abc import Callable

_HEADER = struct.Struct("=IIQQIII4x")
HEADER_SIZE = _HEADER.size


class Header(NamedTuple):
    """What every request begins with: who asks what of which node."""

    length: int  # bytes of the whole message
    opcode: int
    unique: int  # names the request in the answer and in an INTERRUPT
    node: int
    uid: int
    gid: int
    pid: int


class Init(NamedTuple):
    """The kernel's offer."""

    major: int
    minor: int
    max_readahead: int
    flags: int  # InitFlag, both words joined


class Named(NamedTuple):
    """LOOKUP, UNLINK, RMDIR, REMOVEXATTR."""

    name: bytes


class Forgotten(NamedTuple):
    """FORGET and BATCH_FORGET: node ids and how many references each loses."""

    nodes: list[tuple[int, int]]


class Setattr(NamedTuple):
    """SETATTR; `valid` says which fields count (SetattrValid)."""

    valid: int
    size: int
    atime_ns: int
    mtime_ns: int
    mode: int
    uid: int
    gid: int


class Symlink(NamedTuple):
    name: bytes
    target: bytes


class Mknod(NamedTuple):
    """MKNOD, and MKDIR with its directory bit unset and `rdev` 0."""

    name: bytes
    mode: int
    rdev: int
    umask: int


class Rename(NamedTuple):
    """RENAME and RENAME2."""

    new_parent: int
    flags: int
    old_name: bytes
    new_name: bytes


class Link(NamedTuple):
    old_node: int
    name: bytes


class Open(NamedTuple):
    """OPEN and OPENDIR."""

    flags: int


class Create(NamedTuple):
    """CREATE and TMPFILE."""

    name: bytes
    flags: int
    mode: int
    umask: int


class Read(NamedTuple):
    """READ, READDIR and READDIRPLUS."""

    handle: int
    offset: int
    size: int


class Write(NamedTuple):
    """WRITE; `data` lies in the buffer that the message was read into."""

    handle: int
    offset: int
    flags: int
    data: memoryview
    open_flags: int = 0  # of open(2), as the caller's descriptor has them


class Release(NamedTuple):
    """RELEASE, RELEASEDIR and FLUSH."""

    handle: int


class Fsync(NamedTuple):
    """FSYNC and FSYNCDIR."""

    handle: int
    flags: int


class Setxattr(NamedTuple):
    name: bytes
    value: bytes
    flags: int  # XATTR_CREATE, XATTR_REPLACE
    extra_flags: int  # SETXATTR_ACL_KILL_SGID


class Getxattr(NamedTuple):
    """GETXATTR, and LISTXATTR with an empty name; `size` 0 asks for the size only."""

    size: int
    name: bytes


class Interrupt(NamedTuple):
    unique: int


class Fallocate(NamedTuple):
    offset: int
    length: int
    mode: int


class Lseek(NamedTuple):
    offset: int
    whence: int


class CopyFileRange(NamedTuple):
    offset_in: int
    node_out: int
    offset_out: int
    length: int


class Ioctl(NamedTuple):
    command: int
    data: bytes
    out_size: int


class Statx(NamedTuple):
    mask: int


class Empty(NamedTuple):
    """Requests of which nothing but the header counts: GETATTR, READLINK, STATFS, DESTROY..."""


Body = (
    Init
    | Named
    | Forgotten
    | Setattr
    | Symlink
    | Mknod
    | Rename
    | Link
    | Open
    | Create
    | Read
    | Write
    | Release
    | Fsync
    | Setxattr
    | Getxattr
    | Interrupt
    | Fallocate
    | Lseek
    | CopyFileRange
    | Ioctl
    | Statx
    | Empty
)


class Features(NamedTuple):
    """What of the negotiated protocol changes the layout of a message."""

    setxattr_ext: bool = True


def parse_header(message: memoryview) -> Header:
    """Read the header of a whole message; WireError if it cannot be one."""
    if len(message) < HEADER_SIZE:
        raise WireError(f"a message of {len(message)} bytes is shorter than its header")
    header = _new(Header, _HEADER.unpack_from(message))
    if header.length != len(message):
        raise WireError(f"a message of {len(message)} bytes says it has {header.length}")
    return header


def parse_body(opcode: int, body: memoryview, features: Features) -> Body | None:
    """Read what follows the header; None for an opcode that is not known here."""
    parser = _PARSERS.get(opcode)
    if parser is None:
        return None
    try:
        return parser(body, features)
    except (struct.error, ValueError) as error:
        raise WireError(f"request {opcode}: {error}") from error


# Pieces.

_INIT = struct.Struct("=IIII")
_WORD = struct.Struct("=I")
_LONG = struct.Struct("=Q")
_FORGET_ONE = struct.Struct("=QQ")
_BATCH = struct.Struct("=II")
_SETATTR = struct.Struct("=IIQQQqqQIIIIIIII")  # times before 1970 are negative
_MKNOD = struct.Struct("=IIII")
_MKDIR = struct.Struct("=II")
_RENAME2 = struct.Struct("=QII")
_CREATE = struct.Struct("=IIII")
_READ = struct.Struct("=QQIIQII")
_FSYNC = struct.Struct("=QII")
_SETXATTR = struct.Struct("=II")
_SETXATTR_EXT = struct.Struct("=IIII")
_GETXATTR = struct.Struct("=II")
_FALLOCATE = struct.Struct("=QQQII")
_LSEEK = struct.Struct("=QqII")  # SEEK_DATA and SEEK_HOLE come with any offset
_COPY = struct.Struct("=QQQQQQQ")
_IOCTL = struct.Struct("=QIIQII")
_STATX = struct.Struct("=IIQII")

_BILLION = 1_000_000_000
# Half of what Named(...) takes, of what comes often: a NamedTuple is made in Python otherwise.
_new = tuple.__new__


def _strings(view: memoryview, count: int) -> list[bytes]:
    """Split zero-terminated strings, of which there must be `count`."""
    parts = bytes(view).split(b"\0")
    if len(parts) <= count:
        raise ValueError(f"{len(parts) - 1} terminated names where {count} belong")
    return parts[:count]


def _init(view: memoryview, _: Features) -> Init:
    major, minor, readahead, flags = _INIT.unpack_from(view)
    if len(view) >= _INIT.size + _WORD.size and flags & (1 << 30):  # INIT_EXT
        flags |= _WORD.unpack_from(view, _INIT.size)[0] << 32
    return Init(major, minor, readahead, flags)


def _named(view: memoryview, _: Features) -> Named:
    name, end, _rest = bytes(view).partition(b"\0")
    if not end:
        raise ValueError("a name without an end")
    return _new(Named, (name,))


def _forget(view: memoryview, _: Features) -> Forgotten:
    # The node is in the header; the driver adds it.
    return _new(Forgotten, ([(0, _LONG.unpack_from(view)[0])],))


def _batch_forget(view: memoryview, _: Features) -> Forgotten:
    count, _unused = _BATCH.unpack_from(view)
    end = _BATCH.size + count * _FORGET_ONE.size
    if end > len(view):
        raise ValueError(f"{count} nodes do not fit in {len(view)} bytes")
    return Forgotten(list(_FORGET_ONE.iter_unpack(view[_BATCH.size : end])))


def _setattr(view: memoryview, _: Features) -> Setattr:
    fields = _SETATTR.unpack_from(view)
    valid, size = fields[0], fields[3]
    atime, mtime, atime_nsec, mtime_nsec = fields[5], fields[6], fields[8], fields[9]
    atime_ns, mtime_ns = atime * _BILLION + atime_nsec, mtime * _BILLION + mtime_nsec
    return _new(Setattr, (valid, size, atime_ns, mtime_ns, fields[11], fields[13], fields[14]))


def _symlink(view: memoryview, _: Features) -> Symlink:
    return Symlink._make(_strings(view, 2))


def _mknod(view: memoryview, _features: Features) -> Mknod:
    mode, rdev, umask, _padding = _MKNOD.unpack_from(view)
    name = _named(view[_MKNOD.size :], _features).name
    return _new(Mknod, (name, mode, _decode_device(rdev) if rdev else 0, umask))


def _decode_device(packed: int) -> int:
    """The kernel's 32-bit form (new_encode_dev) as a dev_t of this libc."""
    major = packed >> 8 & 0xFFF
    minor = packed & 0xFF | packed >> 12 & 0xFFF00
    return (major & 0xFFFFF000) << 32 | major << 8 | (minor & 0xFFFFFF00) << 12 | minor & 0xFF


def _mkdir(view: memoryview, _: Features) -> Mknod:
    mode, umask = _MKDIR.unpack_from(view)
    return Mknod(_strings(view[_MKDIR.size :], 1)[0], mode, 0, umask)


def _rename(view: memoryview, _: Features) -> Rename:
    old, new = _strings(view[_LONG.size :], 2)
    return Rename(_LONG.unpack_from(view)[0], 0, old, new)


def _rename2(view: memoryview, _: Features) -> Rename:
    parent, flags, _padding = _RENAME2.unpack_from(view)
    old, new = _strings(view[_RENAME2.size :], 2)
    return Rename(parent, flags, old, new)


def _link(view: memoryview, _: Features) -> Link:
    return Link(_LONG.unpack_from(view)[0], _strings(view[_LONG.size :], 1)[0])


def _open(view: memoryview, _: Features) -> Open:
    return Open(_WORD.unpack_from(view)[0])


def _create(view: memoryview, _: Features) -> Create:
    flags, mode, umask, _open_flags = _CREATE.unpack_from(view)
    return Create(_strings(view[_CREATE.size :], 1)[0], flags, mode, umask)


def _read(view: memoryview, _: Features) -> Read:
    return _new(Read, _READ.unpack_from(view)[:3])


def _write(view: memoryview, _: Features) -> Write:
    handle, offset, size, flags, _owner, open_flags, *_unused = _READ.unpack_from(view)
    data = view[_READ.size :]
    if len(data) < size:
        raise ValueError(f"{len(data)} bytes of data where {size} belong")
    return _new(Write, (handle, offset, flags, data[:size], open_flags))


def _release(view: memoryview, _: Features) -> Release:
    return Release(_LONG.unpack_from(view)[0])


def _fsync(view: memoryview, _: Features) -> Fsync:
    return Fsync._make(_FSYNC.unpack_from(view)[:2])


def _setxattr(view: memoryview, features: Features) -> Setxattr:
    head = _SETXATTR_EXT if features.setxattr_ext else _SETXATTR
    size, flags, *extra = head.unpack_from(view)
    rest = bytes(view[head.size :])
    end = rest.index(b"\0")
    value = rest[end + 1 :]
    if len(value) < size:
        raise ValueError(f"{len(value)} bytes of value where {size} belong")
    return Setxattr(rest[:end], value[:size], flags, extra[0] if extra else 0)


def _getxattr(view: memoryview, _: Features) -> Getxattr:
    size, _padding = _GETXATTR.unpack_from(view)
    name, end, _rest = bytes(view[_GETXATTR.size :]).partition(b"\0")
    if not end:
        raise ValueError("a name without an end")
    return _new(Getxattr, (size, name))


def _listxattr(view: memoryview, _: Features) -> Getxattr:
    return _new(Getxattr, (_GETXATTR.unpack_from(view)[0], b""))


def _interrupt(view: memoryview, _: Features) -> Interrupt:
    return Interrupt(_LONG.unpack_from(view)[0])


def _fallocate(view: memoryview, _: Features) -> Fallocate:
    return Fallocate._make(_FALLOCATE.unpack_from(view)[1:4])


def _lseek(view: memoryview, _: Features) -> Lseek:
    return Lseek._make(_LSEEK.unpack_from(view)[1:3])


def _copy_file_range(view: memoryview, _: Features) -> CopyFileRange:
    _handle, offset_in, node_out, _handle_out, offset_out, length, _flags = _COPY.unpack_from(view)
    return CopyFileRange(offset_in, node_out, offset_out, length)


def _ioctl(view: memoryview, _: Features) -> Ioctl:
    _handle, _flags, command, _argument, in_size, out_size = _IOCTL.unpack_from(view)
    return Ioctl(command, bytes(view[_IOCTL.size :])[:in_size], out_size)


def _statx(view: memoryview, _: Features) -> Statx:
    return Statx(_STATX.unpack_from(view)[4])


_EMPTY = Empty()


def _empty(_view: memoryview, _: Features) -> Empty:
    return _EMPTY


_PARSERS: dict[int, Callable[[memoryview, Features], Body]] = {
    Opcode.LOOKUP: _named,
    Opcode.FORGET: _forget,
    Opcode.GETATTR: _empty,
    Opcode.SETATTR: _setattr,
    Opcode.READLINK: _empty,
    Opcode.SYMLINK: _symlink,
    Opcode.MKNOD: _mknod,
    Opcode.MKDIR: _mkdir,
    Opcode.UNLINK: _named,
    Opcode.RMDIR: _named,
    Opcode.RENAME: _rename,
    Opcode.LINK: _link,
    Opcode.OPEN: _open,
    Opcode.READ: _read,
    Opcode.WRITE: _write,
    Opcode.STATFS: _empty,
    Opcode.RELEASE: _release,
    Opcode.FSYNC: _fsync,
    Opcode.SETXATTR: _setxattr,
    Opcode.GETXATTR: _getxattr,
    Opcode.LISTXATTR: _listxattr,
    Opcode.REMOVEXATTR: _named,
    Opcode.FLUSH: _release,
    Opcode.INIT: _init,
    Opcode.OPENDIR: _open,
    Opcode.READDIR: _read,
    Opcode.RELEASEDIR: _release,
    Opcode.FSYNCDIR: _fsync,
    Opcode.ACCESS: _empty,
    Opcode.CREATE: _create,
    Opcode.INTERRUPT: _interrupt,
    Opcode.DESTROY: _empty,
    Opcode.IOCTL: _ioctl,
    Opcode.POLL: _empty,
    Opcode.BATCH_FORGET: _batch_forget,
    Opcode.FALLOCATE: _fallocate,
    Opcode.READDIRPLUS: _read,
    Opcode.RENAME2: _rename2,
    Opcode.LSEEK: _lseek,
    Opcode.COPY_FILE_RANGE: _copy_file_range,
    Opcode.SYNCFS: _empty,
    Opcode.TMPFILE: _create,
    Opcode.STATX: _statx,
}
