"""Opening a directory of the host with as much right as there is."""

from __future__ import annotations

import os

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory(parent_fd: int, name: bytes) -> int:
    """Open for listing, without touching the access time where that is allowed."""
    try:
        return os.open(name, _OPEN_DIRECTORY | os.O_NOATIME, dir_fd=parent_fd)
    except PermissionError:
        pass
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent_fd)
    except PermissionError:
        # Search permission without read permission: enough for everything but a listing.
        return os.open(name, _OPEN_DIRECTORY | os.O_PATH, dir_fd=parent_fd)
