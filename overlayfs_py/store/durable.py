"""Changes of single files that are whole and on the disk when the call returns."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from overlayfs_py.store.failures import CorruptStore
from overlayfs_py.union.remove_tree import remove_tree

if TYPE_CHECKING:
    from pathlib import Path

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
# Whatever stands there: nothing is followed, and a FIFO without a writer does not make us wait.
_READ = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
# Records are some hundred bytes, configs and manifests at most 16 MiB (image/documents.py).
_LARGEST = 16 << 20
TEMPORARY = ".tmp"


def random_hex(count: int) -> str:
    """Return `count` random bytes as text; `secrets` would bring what it never needs here."""
    return os.urandom(count).hex()


def sync_directory(path: Path) -> None:
    """Wait until the names in a directory are on the disk."""
    fd = os.open(path, _DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Wait until a file's data is on the disk."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: Path, data: bytes, staging: Path) -> None:
    """Put `data` at `path` in place of what is there: all of it or, on any error, nothing.

    `staging` is a directory of the same filesystem; who is killed leaves `*.tmp` there.
    """
    temporary = staging / (random_hex(8) + TEMPORARY)
    try:
        _write_new(temporary, data)
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _write_new(path: Path, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(fd, data, path)
        os.fsync(fd)
    finally:
        os.close(fd)


def write_all(fd: int, data: bytes | memoryview, path: Path) -> None:
    """Write all of `data`; an error names the path."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def read_file(path: Path) -> bytes:
    """Return the bytes of a small file.

    Raises:
        CorruptStore: it is a link, a FIFO, a directory..., or far too large.
    """
    try:
        fd = os.open(path, _READ)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise CorruptStore(str(path), "not a regular file") from None
    with ExitStack() as stack:
        stack.callback(os.close, fd)
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise CorruptStore(str(path), "not a regular file")
        if status.st_size > _LARGEST:
            raise CorruptStore(str(path), f"{status.st_size} bytes are too many")
        return _read_all(fd)


def _read_all(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, _LARGEST):
        pieces.append(piece)
    return b"".join(pieces)


def remove_file(path: Path) -> bool:
    """Remove a file for good; False where it was gone."""
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    sync_directory(path.parent)
    return True


def remove(path: Path) -> None:
    """Remove whatever is at `path`, which must be, of any depth and modes."""
    fd = os.open(path.parent, _DIRECTORY)
    try:
        remove_tree(fd, os.fsencode(path.name))
    finally:
        os.close(fd)
