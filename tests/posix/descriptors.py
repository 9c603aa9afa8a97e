"""Open files of a check, closed with its block."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def opened(
    path: Path | str | bytes,
    flags: int = os.O_RDONLY,
    mode: int = 0o644,
    *,
    dir_fd: int | None = None,
) -> Iterator[int]:
    descriptor = os.open(path, flags, mode, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def create(path: Path, data: bytes = b"", mode: int = 0o644) -> None:
    """Make a new file: the name must not exist."""
    with opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as descriptor:
        assert os.write(descriptor, data) == len(data)


def overwrite(path: Path, data: bytes, offset: int = 0) -> None:
    """Write into an existing file without truncating it."""
    with opened(path, os.O_WRONLY) as descriptor:
        assert os.pwrite(descriptor, data, offset) == len(data)
