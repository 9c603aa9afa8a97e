"""Where a command's output goes: whole and on the disk, or nothing of it."""

from __future__ import annotations

import errno
import os
import secrets
import stat
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from overlayfs_py.store import durable
from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STDOUT = "-"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@contextmanager
def output_file(path: Path) -> Iterator[BinaryIO]:
    """Open what a command writes; `-` is stdout.

    A regular file appears at its place, or replaces what was there, when the block has ended
    well; until then it lies beside it under a hidden name. Anything else, a pipe say, is written
    to directly.
    """
    if str(path) == STDOUT:
        if sys.stdout.isatty():
            raise OSError(errno.EINVAL, "this is not for a terminal", "stdout")
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif path.exists() and not path.is_file() and not path.is_dir():
        with path.open("wb") as out:
            yield out
    else:
        with _replacing(path.resolve()) as out:
            yield out


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    staged = _staged(path)
    try:
        fd = os.open(staged, _NEW, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(fd, "wb") as out:
            yield out
            out.flush()
            os.fsync(fd)
        os.rename(staged, path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise
    durable.sync_directory(path.parent)


@contextmanager
def output_directory(path: Path) -> Iterator[Path]:
    """Make a directory that appears at `path` when the block has ended well.

    `path` is not there, or is an empty directory.
    """
    path = path.absolute()
    _require_nothing(path)
    staged = _staged(path)
    try:
        staged.mkdir(mode=0o700)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield staged
        files.sync_filesystem(os.fsencode(staged))
        os.rename(staged, path)
    except BaseException:
        durable.remove(staged)
        raise
    durable.sync_directory(path.parent)


def _require_nothing(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(status.st_mode):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    if any(path.iterdir()):
        raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))


def _staged(path: Path) -> Path:
    return path.with_name(f".{path.name[:200]}.{secrets.token_hex(8)}.tmp")
