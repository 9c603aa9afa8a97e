"""Opening a directory or file of the host with as much right as there is."""

from __future__ import annotations

import os

from overlayfs_py.layers.owner_rights import open_as_owner

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def open_directory(
    parent_fd: int, name: bytes, noatime: int = os.O_NOATIME, *, as_owner: bool = True
) -> int:
    """Open for listing; `noatime` and `as_owner` as for a file."""
    try:
        return open_file(parent_fd, name, _OPEN_DIRECTORY, as_owner=as_owner, noatime=noatime)
    except PermissionError:
        # Search permission without read permission: enough for everything but a listing.
        return os.open(name, _OPEN_DIRECTORY | os.O_PATH, dir_fd=parent_fd)


def open_file(
    dir_fd: int, name: bytes, flags: int, *, as_owner: bool, noatime: int = os.O_NOATIME
) -> int:
    """Open, with O_NOATIME as `noatime` where that is allowed: to the owner, or root.

    With `as_owner` a file of ours is opened whatever its mode forbids.
    """
    try:
        return os.open(name, flags | noatime, dir_fd=dir_fd)
    except PermissionError:
        pass
    try:
        return os.open(name, flags, dir_fd=dir_fd)
    except PermissionError as refusal:
        if not as_owner:
            raise
        mode = flags | noatime
        return open_as_owner(refusal, lambda: os.open(name, mode, dir_fd=dir_fd))


def open_again(fd: int, flags: int, *, as_owner: bool, noatime: int = 0) -> int:
    """Open what a descriptor of O_PATH is of; `as_owner` and `noatime` as above."""
    path = b"/proc/self/fd/%d" % fd
    if noatime:
        try:
            return os.open(path, flags | noatime)
        except PermissionError:
            pass
    try:
        return os.open(path, flags)
    except PermissionError as refusal:
        if not as_owner:
            raise
        return open_as_owner(refusal, lambda: os.open(path, flags))
