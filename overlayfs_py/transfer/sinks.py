"""Where an archive goes: a tar as a stream, or a directory."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Protocol

from overlayfs_py.tars.members import Kind, Member
from overlayfs_py.tars.writer import TarWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    Pieces = Iterable[bytes | memoryview]


class Sink(Protocol):
    """A place for named files, whose names may have slashes."""

    def put(self, name: str, size: int, pieces: Pieces) -> None:
        """Write a file; one that has been put already is passed over."""

    def finish(self) -> None:
        """Say that all is there."""


class TarSink:
    """A tar; the same files in the same order give the same bytes."""

    def __init__(self, write: Callable[[bytes | memoryview], object]) -> None:
        self._tar = TarWriter(write)
        self._known: set[str] = set()

    def put(self, name: str, size: int, pieces: Pieces) -> None:
        if name not in self._known:
            self._known.add(name)
            path = tuple(name.encode().split(b"/"))
            self._tar.add(Member(path, Kind.FILE, size=size), pieces)

    def finish(self) -> None:
        self._tar.finish()


class DirectorySink:
    """A directory, which must be empty or not there yet."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(exist_ok=True)
        if any(root.iterdir()):
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(root))

    def put(self, name: str, size: int, pieces: Pieces) -> None:
        path = self._root / name
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            written = sum(file.write(piece) for piece in pieces)
        if written != size:
            raise ValueError(f"{written} bytes of data for a file of {size}")

    def finish(self) -> None:
        """Nothing is left to do."""
