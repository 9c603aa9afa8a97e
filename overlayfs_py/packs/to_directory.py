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

from overlayfs_py.layers.marks import WHITEOUT_PREFIX
from overlayfs_py.layers.override_stat import OVERRIDE_XATTRS, Override, format_override
from overlayfs_py.packs.format import NO_INODE, ROOT, Flag, join_ns
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from overlayfs_py.packs.format import Inode
    from overlayfs_py.packs.pack import Pack
    from overlayfs_py.packs.values import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = {True: b"trusted.overlay.opaque", False: b"user.overlay.opaque"}
_REFUSED = (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL)


class Unpacked(NamedTuple):
    """What came of it."""

    objects: int
    # What a user without privilege could not keep: xattrs, and owners of symbolic links.
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

    def __init__(
        self, pack: Pack, root: int, target: bytes, on_bytes: Callable[[int], object] | None
    ) -> None:
        self._pack = pack
        self._root = root
        self._target = target
        self._on_bytes = on_bytes
        self._linked: dict[int, Path] = {}  # the first path of each file with several
        self._objects = 0
        self._lost: list[str] = []

    def run(self) -> Unpacked:
        directories: list[tuple[int, Path]] = []
        pending: list[tuple[int, Path, bool]] = [(ROOT, (), False)]
        while pending:
            number, path, opaque = pending.pop()
            directories.append((number, path))
            with self._naming(path), self._opened(path) as fd:
                pending += self._fill(fd, number, path, opaque=opaque)
        # Last and from below: what is made in a directory changes its time, and it may be one
        # that lets nothing in.
        for number, path in reversed(directories):
            with self._naming(path), self._opened(path) as fd:
                self._describe(fd, self._pack.index.inode(number), path)
        return Unpacked(self._objects, tuple(self._lost))

    def _fill(
        self, fd: int, number: int, path: Path, *, opaque: bool
    ) -> list[tuple[int, Path, bool]]:
        """Make what is in a directory, its subdirectories empty; returns those."""
        index = self._pack.index
        inode = index.directory(number)
        names = sorted(index.names(inode))
        deleted = {name for name, child, _ in names if child == NO_INODE}
        shown = {name for name, child, _ in names if child != NO_INODE}
        opaque = opaque or bool(inode.flags & Flag.OPAQUE)
        if opaque:
            os.setxattr(fd, _OPAQUE[self.privileged], b"y")
        else:
            # The kernel lists a whiteout inside of an opaque directory as a broken name.
            for name in sorted(deleted - shown):
                self._whiteout(fd, name)
        below = []
        for name, child, _ in names:
            if child == NO_INODE:
                continue
            self._objects += 1
            here = (*path, name)
            with self._naming(here):
                if self._object(fd, name, child, here):
                    below.append((child, here, name in deleted))
        return below

    def _object(self, fd: int, name: bytes, number: int, path: Path) -> bool:
        """Make one object; whether it is a directory, which is described later."""
        inode = self._pack.index.inode(number)
        kind = stat.S_IFMT(inode.mode)
        if kind == stat.S_IFDIR:
            os.mkdir(name, 0o700, dir_fd=fd)
            return True
        if inode.nlink > 1:
            first = self._linked.setdefault(number, path)
            if first != path:
                with self._opened(first[:-1]) as source:
                    os.link(
                        first[-1], name, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False
                    )
                return False
        if kind == stat.S_IFREG:
            self._file(fd, name, inode, path)
        elif kind == stat.S_IFLNK:
            os.symlink(self._pack.index.text(inode.first, inode.size), name, dir_fd=fd)
            self._describe_name(fd, name, inode, path)
        else:
            self._special(fd, name, inode, path)
        return False

    def _file(self, fd: int, name: bytes, inode: Inode, path: Path) -> None:
        made = os.open(name, _NEW_FILE, 0o600, dir_fd=fd)
        try:
            self._pack.reader(inode).copy_to(made, inode.size)
            self._describe(made, inode, path)
        finally:
            os.close(made)
        if self._on_bytes is not None:
            self._on_bytes(inode.size)

    def _special(self, fd: int, name: bytes, inode: Inode, path: Path) -> None:
        device = os.makedev(inode.first >> 32, inode.first & 0xFFFFFFFF)
        os.mknod(name, stat.S_IFMT(inode.mode) | 0o600, device, dir_fd=fd)
        self._describe_name(fd, name, inode, path)

    def _describe(self, fd: int, inode: Inode, path: Path) -> None:
        """Give an open object its owner, mode, xattrs and times; chown clears what chmod set."""
        os.fchown(fd, inode.uid, inode.gid)
        os.fchmod(fd, stat.S_IMODE(inode.mode))
        for name, value in self._xattrs(inode):
            os.setxattr(fd, name, value)
        os.utime(fd, ns=_times(inode))

    def _describe_name(self, fd: int, name: bytes, inode: Inode, path: Path) -> None:
        """The same for what cannot be opened without harm."""
        os.chown(name, inode.uid, inode.gid, dir_fd=fd, follow_symlinks=False)
        if not stat.S_ISLNK(inode.mode):
            files.chmod(fd, name, stat.S_IMODE(inode.mode))
        for key, value in self._xattrs(inode):
            os.setxattr(b"/proc/self/fd/%d/%s" % (fd, name), key, value, follow_symlinks=False)
        os.utime(name, ns=_times(inode), dir_fd=fd, follow_symlinks=False)

    def _xattrs(self, inode: Inode) -> list[tuple[bytes, bytes]]:
        return sorted(self._pack.index.xattrs(inode).items())

    def _whiteout(self, fd: int, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
        except PermissionError:
            os.close(os.open(WHITEOUT_PREFIX + name, _NEW_FILE, 0o644, dir_fd=fd))

    @contextmanager
    def _opened(self, path: Path) -> Iterator[int]:
        """Open a directory below the target, one component after the other."""
        fd = os.dup(self._root)
        try:
            for name in path:
                above, fd = fd, os.open(name, _DIRECTORY, dir_fd=fd)
                os.close(above)
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _naming(self, path: Path) -> Iterator[None]:
        """Let an error say which object it is about."""
        try:
            yield
        except OSError as error:
            if isinstance(error.filename, bytes) and b"/" in error.filename:
                raise  # it says so already, or is about the pack
            place = b"/".join((self._target.rstrip(b"/"), *path))
            raise OSError(error.errno, error.strerror, place) from error


class _Unprivileged(_Exact):
    """Unpacking as an ordinary user: everything is the user's, the xattr says what it should be."""

    privileged = False

    def _describe(self, fd: int, inode: Inode, path: Path) -> None:
        override = Override(inode.uid, inode.gid, inode.mode, _device(inode))
        os.setxattr(fd, OVERRIDE_XATTRS[2], format_override(override))
        for name, value in self._xattrs(inode):
            self._try_xattr(fd, path, name, value)
        own = 0o700 if stat.S_ISDIR(inode.mode) else 0o600
        # Not for others to write, whatever the xattr says: who writes a file sets its xattrs, too.
        os.fchmod(fd, inode.mode & 0o755 | own)
        os.utime(fd, ns=_times(inode))

    def _describe_name(self, fd: int, name: bytes, inode: Inode, path: Path) -> None:
        """Only for symbolic links, which can have no xattrs of a user."""
        if (inode.uid, inode.gid) != (os.geteuid(), os.getegid()):
            self._lost.append(f"owner of {_shown(path)}")
        self._lost += [f"{os.fsdecode(key)} of {_shown(path)}" for key, _ in self._xattrs(inode)]
        os.utime(name, ns=_times(inode), dir_fd=fd, follow_symlinks=False)

    def _special(self, fd: int, name: bytes, inode: Inode, path: Path) -> None:
        made = os.open(name, _NEW_FILE, 0o600, dir_fd=fd)
        try:
            self._describe(made, inode, path)
        finally:
            os.close(made)

    def _try_xattr(self, fd: int, path: Path, name: bytes, value: bytes) -> None:
        try:
            os.setxattr(fd, name, value)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            self._lost.append(f"{os.fsdecode(name)} of {_shown(path)}")


def _device(inode: Inode) -> int:
    if stat.S_IFMT(inode.mode) not in (stat.S_IFCHR, stat.S_IFBLK):
        return 0
    return os.makedev(inode.first >> 32, inode.first & 0xFFFFFFFF)


def _times(inode: Inode) -> tuple[int, int]:
    mtime = join_ns(inode.mtime_s, inode.mtime_ns)
    return join_ns(inode.atime_s, inode.atime_ns), mtime


def _shown(path: Path) -> str:
    return os.fsdecode(b"/" + b"/".join(path))
