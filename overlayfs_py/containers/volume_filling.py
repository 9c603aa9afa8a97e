"""What an image has at a volume's place goes into the volume, once, if that is empty then.

It is copied beside the volume's files and takes their place at once: who is killed has filled
nothing. A directory of the host's is filled where it is. Owners, modes, times, links, devices and
xattrs are the image's, as far as they can be set.
Source of the rule: moby, volume/mounts and daemon/volumes_unix.go, "copyImagePathContent".
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec import structs

from overlayfs_py.mounts import children
from overlayfs_py.store import durable
from overlayfs_py.store.containers import MountKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path as HostPath

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles, Path
    from overlayfs_py.mounts.children import Report
    from overlayfs_py.store.containers import ContainerMount, ContainerRecord
    from overlayfs_py.store.volumes import Volumes

log = logging.getLogger(__name__)

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_STAGED = "filling"
# What a namespace does not map, or may not make, and what the host's filesystem cannot keep.
_CANNOT = (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)


def fill(record: ContainerRecord, layers: Sequence[bytes], volumes: Volumes) -> None:
    """Fill a container's new volumes; `layers` are its image's, topmost first.

    To be called as the container's root, while there is one thread.

    Raises:
        OSError: naming what could not be copied; the volume is as it was.
    """
    fresh = [mount for mount in record.mounts if _is_fresh(mount, volumes)]
    if not fresh:
        return

    def work(report: Report) -> None:
        # In a process of its own: what reads layers need not stay in a monitor's memory.
        from overlayfs_py.containers.image_files import ImageFiles

        with ImageFiles((), above=layers) as files:
            for mount in fresh:
                _fill(files, mount, volumes)
        report.ready()

    child = children.start(work)
    child.ready()
    child.wait()


def _is_fresh(mount: ContainerMount, volumes: Volumes) -> bool:
    if mount.kind is not MountKind.VOLUME or mount.no_copy:
        return False
    return not volumes.get(mount.source).is_filled


def _fill(files: ImageFiles, mount: ContainerMount, volumes: Volumes) -> None:
    place = volumes.place(mount.source)
    # Another container may be started with the same volume.
    with _locked(volumes.directory(mount.source)):
        known = volumes.get(mount.source)
        if known.is_filled:
            return
        if not os.listdir(place.path) and not place.read_only:
            source = _directory_at(files, mount.target)
            if source is not None:
                (_replace if place.is_own else _fill_in_place)(files, source, place.path)
        volumes.replace(structs.replace(known, is_filled=True))


def _directory_at(files: ImageFiles, target: str) -> ImageFile | None:
    from overlayfs_py.containers.image_files import components

    try:
        found = files.find(components(os.fsencode(target)), follow=True)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found if stat.S_ISDIR(found.attributes.mode) else None


@contextmanager
def _locked(directory: HostPath) -> Iterator[None]:
    fd = os.open(directory, _OPEN)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _replace(files: ImageFiles, source: ImageFile, data: HostPath) -> None:
    staged = data.with_name(_STAGED)
    if staged.exists():  # another process was killed at it
        durable.remove(staged)
    staged.mkdir(mode=0o700)
    try:
        _Copy(files, source, staged).run()
        staged.rename(data)
    except BaseException:
        durable.remove(staged)
        raise


def _fill_in_place(files: ImageFiles, source: ImageFile, data: HostPath) -> None:
    """Fill a directory of the host's, which another must not take the place of."""
    try:
        _Copy(files, source, data).run()
    except BaseException:
        for path in data.iterdir():
            durable.remove(path)
        raise


class _Copy:
    """A tree of the image on its way into an empty directory."""

    def __init__(self, files: ImageFiles, source: ImageFile, target: HostPath) -> None:
        self._files = files
        self._source = source
        self._target = target
        self._linked: dict[int, Path] = {}

    def run(self) -> None:
        directories = []
        for file in self._files.walk(self._source.path):
            path = file.path[len(self._source.path) :]
            if stat.S_ISDIR(file.attributes.mode):
                directories.append((path, file))
            with self._parent_of(path) as (parent_fd, name):
                self._make(file, path, parent_fd, name)
        # Only now: what is made in a directory moves its time, and a mode may forbid it.
        for path, file in reversed(directories):
            with self._parent_of(path) as (parent_fd, name):
                self._finish(file, parent_fd, name)

    @contextmanager
    def _parent_of(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """Open the directory that a path is made in, component by component."""
        fd = os.open(self._target, _OPEN)
        try:
            for name in path[:-1]:
                below = os.open(name, _OPEN, dir_fd=fd)
                os.close(fd)
                fd = below
            yield fd, path[-1] if path else b"."
        finally:
            os.close(fd)

    def _make(self, file: ImageFile, path: Path, parent_fd: int, name: bytes) -> None:
        found = file.attributes
        if stat.S_ISDIR(found.mode):
            if path:
                os.mkdir(name, 0o700, dir_fd=parent_fd)
            return
        if found.nlink > 1:
            first = self._linked.setdefault(found.ino, path)
            if first != path:
                with self._parent_of(first) as (first_fd, first_name):
                    os.link(
                        first_name,
                        name,
                        src_dir_fd=first_fd,
                        dst_dir_fd=parent_fd,
                        follow_symlinks=False,
                    )
                return
        if stat.S_ISREG(found.mode):
            self._write(file, parent_fd, name)
        elif stat.S_ISLNK(found.mode):
            os.symlink(self._files.read_link(file), name, dir_fd=parent_fd)
        else:
            try:
                os.mknod(name, stat.S_IFMT(found.mode) | 0o600, found.rdev, dir_fd=parent_fd)
            except PermissionError:  # a device, in a user namespace
                log.warning("%s: a volume cannot hold this device", os.fsdecode(b"/".join(path)))
                return
        self._finish(file, parent_fd, name)

    def _write(self, file: ImageFile, parent_fd: int, name: bytes) -> None:
        fd = os.open(name, _NEW, 0o600, dir_fd=parent_fd)
        with os.fdopen(fd, "wb") as out:
            for piece in self._files.pieces(file):
                if isinstance(piece, int):
                    out.seek(piece, os.SEEK_CUR)
                else:
                    out.write(piece)
            out.truncate(file.attributes.size)

    def _finish(self, file: ImageFile, parent_fd: int, name: bytes) -> None:
        """Set owner, xattrs, mode and times, in the order in which none undoes another."""
        found = file.attributes
        with _as_far_as_possible():
            os.chown(name, found.uid, found.gid, dir_fd=parent_fd, follow_symlinks=False)
        for key, value in self._files.xattrs(file).items():
            with _as_far_as_possible():
                path = b"/proc/self/fd/%d/%s" % (parent_fd, name)
                os.setxattr(path, key, value, follow_symlinks=False)
        if not stat.S_ISLNK(found.mode):
            os.chmod(name, stat.S_IMODE(found.mode), dir_fd=parent_fd)
        times = (found.atime_ns, found.mtime_ns)
        os.utime(name, ns=times, dir_fd=parent_fd, follow_symlinks=False)


@contextmanager
def _as_far_as_possible() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
