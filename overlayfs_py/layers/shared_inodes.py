"""The names of files that have several: no call tells the others of an inode, a walk does."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from overlayfs_py.layers.values import Trail

if TYPE_CHECKING:
    from overlayfs_py.layers.host import HostDirectory


def paths_of_shared_inodes(root: HostDirectory) -> dict[int, list[tuple[bytes, ...]]]:
    """Return every inode with more than one name below `root`, and those names."""
    first: dict[int, Trail] = {}
    shared: dict[int, list[Trail]] = {}
    pending: list[tuple[HostDirectory, Trail | None]] = [(root, None)]
    while pending:
        directory, above = pending.pop()
        with os.scandir(directory.fd()) as listing:
            for entry in listing:
                name = os.fsencode(entry.name)
                here = Trail(above, name)
                if entry.is_dir(follow_symlinks=False):
                    pending.append((directory.directory(name), here))
                elif (earlier := first.setdefault(entry.inode(), here)) is not here:
                    shared.setdefault(entry.inode(), [earlier]).append(here)
    return {ino: [trail.path() for trail in trails] for ino, trails in shared.items()}
