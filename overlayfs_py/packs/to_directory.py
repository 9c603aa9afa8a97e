"""A pack unpacked into a directory, as kernel overlayfs keeps a layer.

Every object is made below a directory descriptor, by one component, and none is followed: what is
written stays below the target, whatever the pack says and whoever changes the target meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.layers.descriptors import DescriptorCache
from overlayfs_py.layers.marks import WHITEOUT_PREFIX
from overlayfs_py.layers.override_stat import OVERRIDE_XATTRS, Override, format_override
from overlayfs_py.packs.format import NO_INODE, ROOT, Flag, join_ns
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.pack import Pack

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = {True: b"trusted.overlay.opaque", False: b"user.overlay.opaque"}
_OPEN_DIRECTORIES = 64


class Unpacked(NamedTuple):
    """What came of it."""

    objects: int
    # What could not be kept: xattrs that the filesystem does not have; of a user without privilege
    # other xattrs, and owners of symbolic links.
    lost: tuple[str, ...]


def unpack(
    pack: Pack,
    target: bytes,
    *,
    privileged: bool,
    on_bytes: Callable[[int], object] | None = None,
) -> Unpacked:
    """Make everything in a pack below `target`, an empty directory.

    With privilege everything is exact. Without, owner, mode and type of files and directories go
    into the xattr that `xattr_permissions=2` reads, and devices are empty files with it.

    Raises:
        CorruptLayer: the pack is damaged.
        OSError: naming the object that cannot be made. What was made before stays.
    """
    with ExitStack() as cleanup:
        root = os.open(target, _DIRECTORY)
        cleanup.callback(os.close, root)
        if os.listdir(root):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), target)
        made = (_Exact if privileged else _Unprivileged)(pack, root, target, on_bytes)
        return made.run()


class _Exact:
    """Unpacking with all privileges."""

    privileged = True
    refused: tuple[int, ...] = (errno.EOPNOTSUPP,)  # an xattr that the filesystem does not have

    def __init__(
        self, pack: Pack, root: int, target: bytes, on_bytes: Callable[[int], object] | None
    ) -> None:
        self._pack = pack
        self._root = root
        self._target = target
        self._on_bytes = on_bytes
        # The first name of each file with several: the number of its directory, and the name there.
        self._linked: dict[int, tuple[int, bytes]] = {}
        # Of each directory but the root: what is above it, and its name there. A path would be as
        # long as the tree is deep, for each of its objects.
        self._above: dict[int, tuple[int, bytes]] = {}
        self._open: DescriptorCache[int] = DescriptorCache(_OPEN_DIRECTORIES, os.close)
        self._objects = 0
        self._lost: list[str] = []

    def run(self) -> Unpacked:
        with ExitStack() as cleanup:
            cleanup.callback(self._open.clear)
            directories: list[int] = []
            pending: list[tuple[int, bool]] = [(ROOT, False)]
            while pending:
                number, opaque = pending.pop()
                directories.append(number)
                pending += self._fill(number, opaque=opaque)
            # Last and from below: what is made in a directory changes its time, and it may be one
            # that lets nothing in. By their names, as somebody else might find them.
            self._open.clear()
            for number in reversed(directories):
                with self._naming(number):
                    self._describe(self._fd(number), self._pack.index.inode(number), number)
        return Unpacked(self._objects, tuple(self._lost))

    def _fill(self, number: int, *, opaque: bool) -> list[tuple[int, bool]]:
        """Make what is in a directory, its subdirectories empty; returns those."""
        index = self._pack.index
        inode = index.directory(number)
        names = sorted(index.names(inode))
        deleted = {name for name, child, _ in names if child == NO_INODE}
        shown = {name for name, child, _ in names if child != NO_INODE}
        opaque = opaque or bool(inode.flags & Flag.OPAQUE)
        with self._naming(number):
            if opaque:
                os.setxattr(self._fd(number), _OPAQUE[self.privileged], b"y")
            else:
                # The kernel lists a whiteout inside of an opaque directory as a broken name.
                for name in sorted(deleted - shown):
                    self._whiteout(self._fd(number), name)
        below = []
        for name, child, _ in names:
            if child == NO_INODE:
                continue
            self._objects += 1
            with self._naming(number, name):
                if self._object(number, name, child):
                    below.append((child, name in deleted))
        return below

    def _object(self, directory: int, name: bytes, number: int) -> bool:
        """Make one object; whether it is a directory, which is described later."""
        inode = self._pack.index.inode(number)
        kind = stat.S_IFMT(inode.mode)
        if kind == stat.S_IFDIR:
            self._above[number] = directory, name
            os.mkdir(name, 0o700, dir_fd=self._fd(directory))
            return True
        if inode.nlink > 1:
            first = self._linked.setdefault(number, (directory, name))
            if first != (directory, name):
                self._link(*first, directory, name)
                return False
        if kind == stat.S_IFREG:
            self._file(directory, name, inode)
        elif kind == stat.S_IFLNK:
            target = self._pack.index.text(inode.first, inode.size)
            os.symlink(target, name, dir_fd=self._fd(directory))
            self._describe_name(inode, directory, name)
        else:
            self._special(directory, name, inode)
        return False

    def _link(self, source: int, old: bytes, directory: int, new: bytes) -> None:
        source_fd, fd = self._fd(source), self._fd(directory)
        os.link(old, new, src_dir_fd=source_fd, dst_dir_fd=fd, follow_symlinks=False)

    def _file(self, directory: int, name: bytes, inode: Inode) -> None:
        made = os.open(name, _NEW_FILE, 0o600, dir_fd=self._fd(directory))
        try:
            self._pack.reader(inode).copy_to(made, inode.size)
            self._describe(made, inode, directory, name)
        finally:
            os.close(made)
        if self._on_bytes is not None:
            self._on_bytes(inode.size)

    def _special(self, directory: int, name: bytes, inode: Inode) -> None:
        device = os.makedev(inode.first >> 32, inode.first & 0xFFFFFFFF)
        os.mknod(name, stat.S_IFMT(inode.mode) | 0o600, device, dir_fd=self._fd(directory))
        self._describe_name(inode, directory, name)

    def _describe(self, fd: int, inode: Inode, directory: int, *names: bytes) -> None:
        """Give an open object its owner, mode, xattrs and times; chown clears what chmod set."""
        os.fchown(fd, inode.uid, inode.gid)
        os.fchmod(fd, stat.S_IMODE(inode.mode))
        for key, value in self._xattrs(inode):
            self._try_xattr(fd, key, value, directory, *names)
        os.utime(fd, ns=_times(inode))

    def _describe_name(self, inode: Inode, directory: int, name: bytes) -> None:
        """The same for what cannot be opened without harm."""
        fd = self._fd(directory)
        os.chown(name, inode.uid, inode.gid, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISLNK(inode.mode):
            files.chmod(fd, name, stat.S_IMODE(inode.mode))
        for key, value in self._xattrs(inode):
            self._try_xattr(b"/proc/self/fd/%d/%s" % (fd, name), key, value, directory, name)
        os.utime(name, ns=_times(inode), dir_fd=fd, follow_symlinks=False)

    def _try_xattr(
        self, place: int | bytes, key: bytes, value: bytes, directory: int, *names: bytes
    ) -> None:
        try:
            os.setxattr(place, key, value, follow_symlinks=isinstance(place, int))
        except OSError as error:
            if error.errno not in self.refused:
                raise
            self._lose(os.fsdecode(key), directory, *names)

    def _xattrs(self, inode: Inode) -> list[tuple[bytes, bytes]]:
        return sorted(self._pack.index.xattrs(inode).items())

    def _whiteout(self, fd: int, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
        except PermissionError:
            os.close(os.open(WHITEOUT_PREFIX + name, _NEW_FILE, 0o644, dir_fd=fd))

    def _fd(self, number: int) -> int:
        """A directory's descriptor, to be used at once, opened below the nearest that is open."""
        names: list[tuple[int, bytes]] = []
        fd: int | None = None
        while number != ROOT and (fd := self._open.find(number)) is None:
            above, name = self._above[number]
            names.append((number, name))
            number = above
        fd = self._root if fd is None else fd
        for below, name in reversed(names):
            fd = os.open(name, _DIRECTORY, dir_fd=fd)
            self._open.put(below, fd)
        return fd

    def _path(self, number: int, *names: bytes) -> bytes:
        path = list(reversed(names))
        while number != ROOT:
            number, name = self._above[number]
            path.append(name)
        return b"/".join(reversed(path))

    @contextmanager
    def _naming(self, number: int, *names: bytes) -> Iterator[None]:
        """Let an error say which object it is about."""
        try:
            yield
        except OSError as error:
            if isinstance(error.filename, bytes) and b"/" in error.filename:
                raise  # it says so already, or is about the pack
            place = self._target.rstrip(b"/") + b"/" + self._path(number, *names)
            raise OSError(error.errno, error.strerror, place) from error

    def _lose(self, what: str, directory: int, *names: bytes) -> None:
        self._lost.append(f"{what} of /{os.fsdecode(self._path(directory, *names))}")


class _Unprivileged(_Exact):
    """Unpacking as an ordinary user: everything is the user's, the xattr says what it should be."""

    privileged = False
    refused: tuple[int, ...] = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL)

    def _describe(self, fd: int, inode: Inode, directory: int, *names: bytes) -> None:
        override = Override(inode.uid, inode.gid, inode.mode, _device(inode))
        os.setxattr(fd, OVERRIDE_XATTRS[2], format_override(override))
        for key, value in self._xattrs(inode):
            self._try_xattr(fd, key, value, directory, *names)
        own = 0o700 if stat.S_ISDIR(inode.mode) else 0o600
        # Not for others to write, whatever the xattr says: who writes a file sets its xattrs, too.
        os.fchmod(fd, inode.mode & 0o755 | own)
        os.utime(fd, ns=_times(inode))

    def _describe_name(self, inode: Inode, directory: int, name: bytes) -> None:
        """Only for symbolic links, which can have no xattrs of a user."""
        if (inode.uid, inode.gid) != (os.geteuid(), os.getegid()):
            self._lose("owner", directory, name)
        for key, _ in self._xattrs(inode):
            self._lose(os.fsdecode(key), directory, name)
        os.utime(name, ns=_times(inode), dir_fd=self._fd(directory), follow_symlinks=False)

    def _special(self, directory: int, name: bytes, inode: Inode) -> None:
        made = os.open(name, _NEW_FILE, 0o600, dir_fd=self._fd(directory))
        try:
            self._describe(made, inode, directory, name)
        finally:
            os.close(made)


def _device(inode: Inode) -> int:
    if stat.S_IFMT(inode.mode) not in (stat.S_IFCHR, stat.S_IFBLK):
        return 0
    return os.makedev(inode.first >> 32, inode.first & 0xFFFFFFFF)


def _times(inode: Inode) -> tuple[int, int]:
    mtime = join_ns(inode.mtime_s, inode.mtime_ns)
    return join_ns(inode.atime_s, inode.atime_ns), mtime
