"""System calls that fail: the one after so many others, or all from there on."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from overlayfs_py.syscalls import files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_OPENING = ("dup", "listdir", "open", "scandir")
_CHANGING = (
    *("chmod", "chown", "copy_file_range", "fchmod", "ftruncate", "link", "mkdir", "mknod"),
    *("pwrite", "pwritev", "removexattr", "rename", "rmdir", "sendfile", "setxattr", "symlink"),
    *("fsync", "unlink", "utime"),
)
_READING = ("fstat", "fstatvfs", "getxattr", "listxattr", "pread", "preadv", "readlink", "stat")

_ALLOCATING = tuple(name for name in _CHANGING if name not in {"removexattr", "rmdir", "unlink"})
_OF_FILES = ("_renameat2", "_fallocate", "_statx", "_syncfs", "_sync_file_range")
# What the filesystems of a layer and an upper, and the limit of open files, can answer.
FAILURES: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    errno.EIO: ((*_OPENING, *_CHANGING, *_READING), _OF_FILES),
    errno.ENOSPC: (("open", *_ALLOCATING), ("_renameat2", "_fallocate")),
    errno.EMFILE: (_OPENING, ()),
}
_OPEN = os.open


class Fault(NamedTuple):
    """Which calls fail, and how: counted from 1."""

    number: int
    first: int
    lasting: bool  # all later ones as well


class _Counter:
    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.calls = 0
        self.hit: list[str] = []

    def around(self, name: str, call: Callable[..., object]) -> Callable[..., object]:
        def counted(*args: object, **kwargs: object) -> object:
            makes_room = self.fault.number == errno.ENOSPC and call is _OPEN
            if makes_room and not int(args[1]) & os.O_ACCMODE:  # type: ignore[call-overload]
                return call(*args, **kwargs)
            self.calls += 1
            fault = self.fault
            if self.calls == fault.first or (fault.lasting and self.calls > fault.first):
                self.hit.append(name)
                raise OSError(fault.number, os.strerror(fault.number))
            return call(*args, **kwargs)

        return counted


@contextmanager
def failing(fault: Fault) -> Iterator[list[str]]:
    """Let calls fail while inside; gives the names of those that did."""
    counter = _Counter(fault)
    of_os, of_files = FAILURES[fault.number]
    places = [(os, name) for name in of_os] + [(files, name) for name in of_files]
    kept = [(module, name, getattr(module, name)) for module, name in places]
    try:
        for module, name, call in kept:
            setattr(module, name, counter.around(name, call))
        yield counter.hit
    finally:
        for module, name, call in kept:
            setattr(module, name, call)
