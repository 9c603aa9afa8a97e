"""The operations of the state machine: system calls on one side, their results comparable.

A result holds no inode numbers, no times of today, no link count or size of a directory: those
differ between two sides that are both right. Everything else does not.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from overlayfs_py.syscalls import files
from tests.oracle.layers import PAST_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Operation = Callable[..., object]

_TODAY_NS = (PAST_S + 500_000_000) * 1_000_000_000
_NOW = "now"
# A FIFO without a peer must not stop the run.
_ALWAYS = os.O_CLOEXEC | os.O_NONBLOCK
_READ_BYTES = 1 << 16
# A user has a group of the same number; two of them have one more in common.
SHARED_GROUP = 2000
_SHARING = (1000, 1001)

SUMMARY_FIELDS = 7
LINK_COUNT = 4  # its place in a summary

OPERATIONS: dict[str, Operation] = {}


class Place:
    """One side as the operations see it: where it is mounted, and the files held open there."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.held: dict[int, int] = {}  # number of the handle, the same on both sides -> descriptor

    def __truediv__(self, path: bytes) -> bytes:
        return self.root + b"/" + path

    def close(self, handle: int) -> None:
        os.close(self.held.pop(handle))

    def remove_or_make_and_remove(self, path: bytes) -> None:
        """Let a name be gone whether or not it is there; its directory has changed either way."""
        with suppress(FileExistsError):
            os.close(os.open(self / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        os.unlink(self / path)

    def close_all(self) -> None:
        for handle in list(self.held):
            self.close(handle)


def attempt(place: Place, name: str, arguments: tuple[object, ...], uid: int) -> object:
    """The result of an operation, or the name of the error that it got."""
    try:
        with _acting_as(uid):
            return OPERATIONS[name](place, *arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


@contextmanager
def _acting_as(uid: int) -> Iterator[None]:
    if uid == 0:
        yield
        return
    with ExitStack() as back:
        groups = os.getgroups()
        back.callback(os.setgroups, groups)
        os.setgroups([uid, SHARED_GROUP] if uid in _SHARING else [uid])
        back.callback(os.setegid, 0)
        os.setegid(uid)
        back.callback(os.seteuid, 0)
        os.seteuid(uid)
        yield


@contextmanager
def _masked(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _operation(function: Operation) -> Operation:
    OPERATIONS[function.__name__] = function
    return function


def summary(status: os.stat_result) -> tuple[object, ...]:
    directory = stat.S_ISDIR(status.st_mode)
    return (
        oct(status.st_mode),
        status.st_uid,
        status.st_gid,
        status.st_rdev,
        None if directory else status.st_nlink,
        None if directory else status.st_size,
        when(status.st_mtime_ns),
    )


def when(time_ns: int) -> int | str:
    return _NOW if time_ns > _TODAY_NS else time_ns


def _inode_kept(path: bytes, change: Callable[[], object]) -> tuple[object, bool]:
    """Whether a change left st_ino as it was: copy-up must not show."""
    before = os.stat(path).st_ino
    result = change()
    return result, os.stat(path).st_ino == before


# Opening, reading, writing by name


@_operation
def open(place: Place, path: bytes, flags: int, mode: int, mask: int) -> object:  # noqa: A001
    with _masked(mask):
        descriptor = os.open(place / path, flags | _ALWAYS, mode)
    try:
        return summary(os.fstat(descriptor))
    finally:
        os.close(descriptor)


@_operation
def read(place: Place, path: bytes) -> object:
    with _opened(place / path, os.O_RDONLY) as descriptor:
        return os.read(descriptor, _READ_BYTES)


@_operation
def write(place: Place, path: bytes, offset: int, data: bytes) -> object:
    def change() -> int:
        with _opened(place / path, os.O_WRONLY) as descriptor:
            return os.pwrite(descriptor, data, offset)

    return _inode_kept(place / path, change)


@_operation
def append(place: Place, path: bytes, data: bytes) -> object:
    with _opened(place / path, os.O_WRONLY | os.O_APPEND) as descriptor:
        return os.write(descriptor, data), os.fstat(descriptor).st_size


@_operation
def truncate(place: Place, path: bytes, size: int) -> object:
    return _inode_kept(place / path, lambda: os.truncate(place / path, size))


@contextmanager
def _opened(path: bytes, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags | _ALWAYS)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


# Names


@_operation
def unlink(place: Place, path: bytes) -> None:
    os.unlink(place / path)


@_operation
def rmdir(place: Place, path: bytes) -> None:
    os.rmdir(place / path)


@_operation
def mkdir(place: Place, path: bytes, mode: int, mask: int) -> None:
    with _masked(mask):
        os.mkdir(place / path, mode)


@_operation
def symlink(place: Place, target: bytes, path: bytes) -> None:
    os.symlink(target, place / path)


@_operation
def mknod(place: Place, path: bytes, mode: int, rdev: int, mask: int) -> None:
    with _masked(mask):
        os.mknod(place / path, mode, rdev)


@_operation
def link(place: Place, old: bytes, new: bytes) -> None:
    os.link(place / old, place / new, follow_symlinks=False)


@_operation
def rename(place: Place, old: bytes, new: bytes, flags: int) -> object:
    before = os.lstat(place / old).st_ino
    files.rename(-1, place / old, -1, place / new, flags)
    return os.lstat(place / new).st_ino == before


@_operation
def rmtree(place: Place, path: bytes) -> None:
    with _opened(place / path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as descriptor:
        entries = [
            (entry.name, entry.is_dir(follow_symlinks=False)) for entry in os.scandir(descriptor)
        ]
    for name, directory in sorted(entries):
        below = path + b"/" + os.fsencode(name)
        if directory:
            rmtree(place, below)
        else:
            os.unlink(place / below)
    os.rmdir(place / path)


# Attributes


@_operation
def lstat(place: Place, path: bytes) -> object:
    return summary(os.lstat(place / path))


@_operation
def readlink(place: Place, path: bytes) -> object:
    return os.readlink(place / path)


@_operation
def listdir(place: Place, path: bytes) -> object:
    return sorted(os.listdir(place / path))


@_operation
def access(place: Place, path: bytes, mode: int) -> object:
    return os.access(place / path, mode, effective_ids=True)


@_operation
def chmod(place: Place, path: bytes, mode: int) -> object:
    return _inode_kept(place / path, lambda: os.chmod(place / path, mode))


@_operation
def lchown(place: Place, path: bytes, uid: int, gid: int) -> None:
    os.lchown(place / path, uid, gid)


@_operation
def utimens(place: Place, path: bytes, times_ns: tuple[int, int] | None) -> None:
    if times_ns is None:
        os.utime(place / path, follow_symlinks=False)
    else:
        os.utime(place / path, ns=times_ns, follow_symlinks=False)


@_operation
def setxattr(place: Place, path: bytes, name: bytes, value: bytes, flags: int) -> None:
    os.setxattr(place / path, name, value, flags, follow_symlinks=False)


@_operation
def removexattr(place: Place, path: bytes, name: bytes) -> None:
    os.removexattr(place / path, name, follow_symlinks=False)


@_operation
def getxattr(place: Place, path: bytes, name: bytes) -> object:
    return os.getxattr(place / path, name, follow_symlinks=False)


@_operation
def listxattr(place: Place, path: bytes) -> object:
    return sorted(os.listxattr(place / path, follow_symlinks=False))


# Through descriptors that stay open


@_operation
def hold(place: Place, handle: int, path: bytes, flags: int, mode: int) -> object:
    if handle in place.held:
        place.close(handle)
    place.held[handle] = os.open(place / path, flags | _ALWAYS, mode)
    return summary(os.fstat(place.held[handle]))


@_operation
def fd_close(place: Place, handle: int) -> None:
    place.close(handle)


@_operation
def fd_stat(place: Place, handle: int) -> object:
    return summary(os.fstat(place.held[handle]))


@_operation
def fd_read(place: Place, handle: int, offset: int) -> object:
    return os.pread(place.held[handle], _READ_BYTES, offset)


@_operation
def fd_write(place: Place, handle: int, offset: int, data: bytes) -> object:
    return os.pwrite(place.held[handle], data, offset)


@_operation
def fd_append(place: Place, handle: int, data: bytes) -> object:
    return os.write(place.held[handle], data)


@_operation
def fd_truncate(place: Place, handle: int, size: int) -> None:
    os.ftruncate(place.held[handle], size)


@_operation
def fd_chmod(place: Place, handle: int, mode: int) -> None:
    os.fchmod(place.held[handle], mode)


@_operation
def fd_setxattr(place: Place, handle: int, name: bytes, value: bytes) -> None:
    os.setxattr(place.held[handle], name, value)


@_operation
def fd_listxattr(place: Place, handle: int) -> object:
    return sorted(os.listxattr(place.held[handle]))


@_operation
def fd_sync(place: Place, handle: int) -> None:
    os.fsync(place.held[handle])


@_operation
def fd_link(place: Place, handle: int, new: bytes) -> None:
    # A directory descriptor, unused beside an absolute path, makes Python call linkat(2), which
    # follows the magic link; link(2) does not.
    source = f"/proc/self/fd/{place.held[handle]}"
    os.link(source, place / new, src_dir_fd=place.held[handle], follow_symlinks=True)


@_operation
def fd_listdir(place: Place, handle: int) -> object:
    os.lseek(place.held[handle], 0, os.SEEK_SET)
    return sorted(os.listdir(place.held[handle]))


@_operation
def fd_create(place: Place, handle: int, name: bytes) -> None:
    """Create below a held directory, which may have been moved or removed."""
    os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=place.held[handle]))
