"""The files of a tar, put into a directory: what `cp` writes, here or in a container.

Everything is made below descriptors, by one component, and no link that lies in the way is
followed: neither what the tar says nor who changes the directory meanwhile leads elsewhere. A file
appears whole, in place of one that was there.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers.tree import Tree, place_of
from overlayfs_py.errors import Failure, ReservedName
from overlayfs_py.syscalls import files
from overlayfs_py.tars.members import Hole, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from overlayfs_py.tars.members import Member
    from overlayfs_py.tars.paths import Path
    from overlayfs_py.tars.reader import TarReader

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NAMELESS = os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC
_IN_PLACE = os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT)
_SET_IDS = stat.S_ISUID | stat.S_ISGID
_SPECIAL = {
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
    Kind.FIFO: stat.S_IFIFO,
}
# What a filesystem, or a user, cannot set.
_CANNOT = (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP)
_HARMLESS_XATTRS = (b"user.", b"system.posix_acl_")


class Kept(NamedTuple):
    """What of the tar's attributes the files get besides mode and time."""

    owner: bool = False  # the tar's; else `owners`
    owners: tuple[int, int] = (-1, -1)  # -1: as they are made
    # Set-id bits and xattrs that give rights: a file that becomes another owner's must not have
    # them, as with cp(1).
    rights: bool = False


class Destination(NamedTuple):
    """Where to put it."""

    directory_fd: int
    name: bytes | None  # instead of the first entry's own; None: in the directory, as it is called
    spoken: bytes  # the directory, for errors


def write_files(tar: TarReader, choose: Callable[[Member], Destination], kept: Kept) -> int:
    """Make all that the tar holds; returns how many bytes the files have.

    `choose` tells from the first entry where to; its descriptor is closed in the end. Directories
    that are there stay as they are, other things are replaced.

    Raises:
        OSError: naming what cannot be made, or would have to give way: a directory to something
            else, something else to a directory. What was made before stays.
    """
    first = next(tar, None)
    if first is None:
        return 0
    to = choose(first)
    try:
        with Tree(to.directory_fd) as tree:
            writing = _Writing(tree, to, len(first.path), kept)
            writing.add(first, tar)
            for member in tar:
                writing.add(member, tar)
            return writing.finish()
    finally:
        os.close(to.directory_fd)


class _Writing:
    def __init__(self, tree: Tree, to: Destination, base: int, kept: Kept) -> None:
        self._tree = tree
        self._to = to
        self._base = base  # how many components the first entry has
        self._kept = kept
        self._made: list[tuple[Path, Member]] = []  # directories, which are described last
        self._bytes = 0

    def add(self, member: Member, tar: TarReader) -> None:
        path = self._renamed(member.path)
        with self._naming(path):
            self._add(path, member, tar)

    def finish(self) -> int:
        # From below: what is made in a directory moves its time, and a mode may forbid it.
        for path, member in reversed(self._made):
            with self._naming(path):
                self._describe(self._tree.fd(path), b".", member)
        return self._bytes

    def _renamed(self, path: Path) -> Path:
        name = self._to.name
        return path if name is None else (name, *path[self._base :])

    def _add(self, path: Path, member: Member, tar: TarReader) -> None:
        if member.kind in (Kind.WHITEOUT, Kind.OPAQUE, Kind.PRIVATE):
            raise ReservedName(b"/".join(path))
        if not path:
            return  # the directory itself, which is there
        fd, name = self._parent(path), path[-1]
        if member.kind is Kind.DIRECTORY:
            if self._make_directory(fd, name):
                self._made.append((path, member))
            return
        self._require_no_directory(fd, name)
        if member.kind is Kind.FILE:
            self._put_file(fd, name, member, tar.data())
            return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=fd)
        if member.kind is Kind.HARD_LINK:
            self._link(self._renamed(member.link), fd, name)
            return
        if member.kind is Kind.SYMLINK:
            os.symlink(member.target, name, dir_fd=fd)
        else:
            os.mknod(name, _SPECIAL[member.kind] | 0o600, member.rdev, dir_fd=fd)
        self._describe(fd, name, member)

    def _parent(self, path: Path) -> int:
        """Open the directory that something is made in; an entry of its own need not come before.

        Raises:
            OSError: something else is in the way.
        """
        try:
            return self._tree.fd(path[:-1])
        except FileNotFoundError:
            for end in range(1, len(path)):
                with suppress(FileExistsError):
                    os.mkdir(path[end - 1], 0o755, dir_fd=self._tree.fd(path[: end - 1]))
            return self._tree.fd(path[:-1])

    def _make_directory(self, fd: int, name: bytes) -> bool:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                raise OSError(
                    errno.ENOTDIR, "cannot replace something else by a directory"
                ) from None
            return False
        return True

    def _require_no_directory(self, fd: int, name: bytes) -> None:
        with suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                raise OSError(errno.EISDIR, "cannot replace a directory by something else")

    def _link(self, to: Path, fd: int, name: bytes) -> None:
        source = self._tree.fd(to[:-1])
        os.link(to[-1], name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False)

    def _put_file(
        self, dir_fd: int, name: bytes, member: Member, data: Iterable[memoryview | Hole]
    ) -> None:
        hidden = b".%s.%s.tmp" % (name[:200], secrets.token_hex(8).encode())
        fd = _nameless(dir_fd)
        is_nameless = fd is not None
        if fd is None:
            fd = os.open(hidden, _NEW, 0o600, dir_fd=dir_fd)
        try:
            self._bytes += _write(fd, member.size, data)
            self._describe_open(fd, member)
            if is_nameless and _is_linked(fd, dir_fd, name):
                return
            if is_nameless:
                os.link(b"/proc/self/fd/%d" % fd, hidden, dst_dir_fd=dir_fd, follow_symlinks=True)
            try:
                os.rename(hidden, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                # A file of the host is mounted here, which is written to instead.
                _overwrite(dir_fd, hidden, name)
        finally:
            os.close(fd)
            with suppress(FileNotFoundError):
                os.unlink(hidden, dir_fd=dir_fd)

    def _describe(self, fd: int, name: bytes, member: Member) -> None:
        """Give an object its attributes, in the order in which none undoes another."""
        with self._owning(member) as (uid, gid):
            os.chown(name, uid, gid, dir_fd=fd, follow_symlinks=False)
        for key, value in self._xattrs(member):
            with _as_far_as_possible():
                os.setxattr(place_of(fd, name), key, value, follow_symlinks=False)
        if member.kind is not Kind.SYMLINK:
            files.chmod(fd, name, self._mode(member))
        times = (member.mtime_ns, member.mtime_ns)
        os.utime(name, ns=times, dir_fd=fd, follow_symlinks=False)

    def _describe_open(self, fd: int, member: Member) -> None:
        with self._owning(member) as (uid, gid):
            os.fchown(fd, uid, gid)
        for key, value in self._xattrs(member):
            with _as_far_as_possible():
                os.setxattr(fd, key, value)
        os.fchmod(fd, self._mode(member))
        os.utime(fd, ns=(member.mtime_ns, member.mtime_ns))

    @contextmanager
    def _owning(self, member: Member) -> Iterator[tuple[int, int]]:
        uid, gid = (member.uid, member.gid) if self._kept.owner else self._kept.owners
        try:
            yield uid, gid
        except OSError as error:
            if error.errno not in _CANNOT:
                raise
            why = f"cannot belong to {uid}:{gid}: {error.strerror}"
            raise OSError(error.errno, why) from None

    def _mode(self, member: Member) -> int:
        return member.mode if self._kept.rights else member.mode & ~_SET_IDS

    def _xattrs(self, member: Member) -> list[tuple[bytes, bytes]]:
        return [
            (key, value)
            for key, value in member.xattrs
            if self._kept.rights or key.startswith(_HARMLESS_XATTRS)
        ]

    @contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        """Let an error say which file it is about."""
        try:
            yield
        except Failure:
            raise
        except OSError as error:
            if error.filename is not None and not isinstance(error.filename, bytes):
                raise
            place = b"/".join((self._to.spoken.rstrip(b"/"), *path)) or b"/"
            raise OSError(error.errno, error.strerror, place) from error


def _nameless(dir_fd: int) -> int | None:
    """A new file without a name; None where the filesystem has none."""
    try:
        return os.open(b".", _NAMELESS, 0o600, dir_fd=dir_fd)
    except OSError as error:
        if error.errno not in _NO_NAMELESS:
            raise
        return None


def _is_linked(fd: int, dir_fd: int, name: bytes) -> bool:
    """Give a nameless file its name, unless that is taken."""
    try:
        os.link(b"/proc/self/fd/%d" % fd, name, dst_dir_fd=dir_fd, follow_symlinks=True)
    except FileExistsError:
        return False
    return True


def _write(fd: int, size: int, data: Iterable[memoryview | Hole]) -> int:
    """Write a file's data; what is zero all over a piece becomes a hole."""
    offset = 0
    for piece in data:
        if isinstance(piece, Hole):
            offset += piece.length
            continue
        if bytes(piece).lstrip(b"\0"):
            _write_all(fd, piece, offset)
        offset += len(piece)
    os.truncate(fd, size)
    return size


def _write_all(fd: int, piece: memoryview, offset: int) -> None:
    while piece:
        done = os.pwrite(fd, piece, offset)
        piece, offset = piece[done:], offset + done


def _overwrite(dir_fd: int, source: bytes, name: bytes) -> None:
    read_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        write_fd = os.open(name, _IN_PLACE, dir_fd=dir_fd)
        try:
            while os.sendfile(write_fd, read_fd, None, 1 << 30):
                continue
        finally:
            os.close(write_fd)
    finally:
        os.close(read_fd)


@contextmanager
def _as_far_as_possible() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
