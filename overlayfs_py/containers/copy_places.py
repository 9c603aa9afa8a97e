"""What the two paths of `cp` mean: docker's rules for directories, names that end in `/` or `/.`.

On the host and in a container they are the same; how a path is opened is the caller's.
Source: docker/cli, cli/command/container/cp.go, and moby, pkg/archive/copy.go.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.containers.tree import DIRECTORY
from overlayfs_py.containers.tree_files import Destination
from overlayfs_py.containers.tree_tar import Source
from overlayfs_py.link_walk import MOST_LINKS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    # Opens a path, with flags of open(2); links on the way are followed as the place has it.
    Opener = Callable[[bytes, int], int]

_PATH = os.O_PATH | os.O_CLOEXEC
_ITSELF = b"."


class _Place(NamedTuple):
    parent_fd: int
    name: bytes  # `.` for the parent itself
    mode: int | None  # None: there is nothing


def tidied(path: bytes, start: bytes = b"/") -> bytes:
    """An absolute path without `..`, that ends in `/` or `/.` where `path` asks for that."""
    whole = posixpath.normpath(posixpath.join(start, path)).replace(b"//", b"/")
    if posixpath.basename(path) == _ITSELF:
        return whole.rstrip(b"/") + b"/."
    return whole.rstrip(b"/") + b"/" if path.endswith(b"/") else whole


def source(open_path: Opener, path: bytes, spoken: bytes, *, follow: bool) -> Source:
    """What to read at a `tidied` path; `follow`: what a link there leads to.

    Raises:
        OSError: there is nothing, or no directory where the path says so.
    """
    bare, wants_directory, wants_content = _parted(path)
    with _about(spoken):
        place = _place(open_path, bare, follow=follow or wants_directory)
        if place.mode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if wants_directory and not stat.S_ISDIR(place.mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    name = posixpath.basename(bare)
    return Source(place.parent_fd, place.name, () if wants_content or not name else (name,), spoken)


def destination(
    open_path: Opener, path: bytes, spoken: bytes, *, is_directory: bool
) -> Destination:
    """Where to put what `is_directory` tells of, at a `tidied` path.

    Raises:
        OSError: there is no directory to put it in, or a file where one would have to go.
    """
    bare, wants_directory, _ = _parted(path)
    with _about(spoken):
        place = _place(open_path, bare, follow=True)
        if place.mode is not None and stat.S_ISDIR(place.mode):
            return Destination(_readable(place, place.name), None, spoken)
        if place.mode is not None and wants_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if place.mode is not None and is_directory:
            raise NotADirectoryError(errno.ENOTDIR, "a directory cannot be copied to a file")
        if place.mode is None and wants_directory and not is_directory:
            raise FileNotFoundError(errno.ENOENT, "no such directory")
        parent_fd = _readable(place, _ITSELF)
    return Destination(parent_fd, place.name, posixpath.dirname(spoken.rstrip(b"/")))


def directory(open_path: Opener, path: bytes, spoken: bytes) -> Destination:
    """A directory, for all that a tar holds.

    Raises:
        OSError: it is none.
    """
    with _about(spoken):
        place = _place(open_path, _parted(path)[0], follow=True)
        if place.mode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        if not stat.S_ISDIR(place.mode):
            raise NotADirectoryError(errno.ENOTDIR, "it must be a directory")
        return Destination(_readable(place, place.name), None, spoken)


def _parted(path: bytes) -> tuple[bytes, bool, bool]:
    """The path itself, whether it says that it is a directory, and whether its content is meant."""
    if path.endswith(b"/."):
        return path[:-2] or b"/", True, True
    if path.endswith(b"/") and path != b"/":
        return path[:-1], True, False
    return path, path == b"/", path == b"/"


def _place(open_path: Opener, path: bytes, *, follow: bool) -> _Place:
    """Find what is at a path, in the directory that really holds it."""
    for _ in range(MOST_LINKS):
        parent, name = posixpath.split(path)
        if name in (b"", _ITSELF, b".."):  # the root, or where a link led
            fd = open_path(path, _PATH | os.O_DIRECTORY)
            return _Place(fd, _ITSELF, os.fstat(fd).st_mode)
        fd = open_path(parent, _PATH | os.O_DIRECTORY)
        try:
            mode = os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return _Place(fd, name, None)
        if not (follow and stat.S_ISLNK(mode)):
            return _Place(fd, name, mode)
        path = posixpath.join(parent, os.readlink(name, dir_fd=fd))
        path = path.rstrip(b"/") or b"/"
        os.close(fd)
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _readable(place: _Place, name: bytes) -> int:
    try:
        return os.open(name, DIRECTORY, dir_fd=place.parent_fd)
    finally:
        os.close(place.parent_fd)


@contextmanager
def _about(spoken: bytes) -> Iterator[None]:
    """Let an error name the path as the user did."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, spoken) from None
