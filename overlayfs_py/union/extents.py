"""Ranges of a regular file: allocate, find data and holes, copy within the union."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.reader import DescriptorReader
from overlayfs_py.syscalls import files
from overlayfs_py.union.contents import reader_of, require_regular, writable_fd, write

if TYPE_CHECKING:
    from overlayfs_py.union.nodes import Node
    from overlayfs_py.union.state import State

_STEP = 1 << 20  # bytes that are copied by hand at a time; the caller asks again


def allocate(state: State, node: Node, mode: int, offset: int, length: int) -> None:
    """fallocate(2) in all the modes that the upper's filesystem has."""
    files.allocate(writable_fd(state, require_regular(node)), mode, offset, length)


def seek(state: State, node: Node, offset: int, whence: int) -> int:
    """Return where the next data or hole begins: lseek(2) with SEEK_DATA or SEEK_HOLE."""
    return reader_of(state, require_regular(node)).seek(offset, whence)


def copy_range(
    state: State, source: Node, source_offset: int, target: Node, target_offset: int, length: int
) -> int:
    """copy_file_range(2) between two files of the union; returns how many bytes were copied.

    Raises:
        BlockingIOError: reading them takes long: `begin_read`, then `write`.
    """
    target_fd = writable_fd(state, require_regular(target))
    reader = reader_of(state, require_regular(source))
    if isinstance(reader, DescriptorReader):
        return os.copy_file_range(reader.fd, target_fd, length, source_offset, target_offset)
    data = reader.try_read(source_offset, min(length, _STEP))
    if data is None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return write(state, target, target_offset, data)
