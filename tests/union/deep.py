"""Trees deeper than any path may be, made one component at a time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def dig(root: Path, depth: int, name: bytes = b"d") -> int:
    """Make directories called `name` inside each other; returns a descriptor of the innermost."""
    root.mkdir(exist_ok=True)
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir(name, 0o755, dir_fd=here)
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    return here


def make_file(directory_fd: int, name: bytes, data: bytes) -> None:
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=directory_fd)
    os.write(fd, data)
    os.close(fd)
