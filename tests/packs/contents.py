"""What a pack shows, as a table: path to data, target or mark."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from overlayfs_py.packs.format import NO_INODE, ROOT, Flag
from overlayfs_py.packs.pack import Pack

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.packs.format import Inode


def contents(path: Path) -> dict[str, str]:
    """Return everything in the pack at `path`; special files by their type and number."""
    found: dict[str, str] = {}
    with Pack(os.fsencode(path)) as pack:
        pending = [(ROOT, b"")]
        while pending:
            number, above = pending.pop()
            for name, child, _ in pack.index.names(pack.index.directory(number)):
                here = above + name
                shown = os.fsdecode(here)
                if child == NO_INODE:
                    found[shown] = "whiteout"
                    continue
                inode = pack.index.inode(child)
                found[shown] = _shown(pack, inode)
                if stat.S_ISDIR(inode.mode):
                    pending.append((child, here + b"/"))
    return found


def _shown(pack: Pack, inode: Inode) -> str:
    if stat.S_ISDIR(inode.mode):
        return "opaque dir" if inode.flags & Flag.OPAQUE else "dir"
    if stat.S_ISREG(inode.mode):
        return pack.reader(inode).read(0, inode.size).decode("latin-1")
    if stat.S_ISLNK(inode.mode):
        return "-> " + os.fsdecode(pack.index.text(inode.first, inode.size))
    return f"{stat.S_IFMT(inode.mode):o} {inode.first:x}"
