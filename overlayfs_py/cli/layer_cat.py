"""`overlayfs-py layer cat`."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.layer_arguments import PACK, components

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Print a file of a pack. Symbolic links are followed inside of the pack.

\b
Examples:
  overlayfs-py layer cat base.pack /etc/os-release
  overlayfs-py layer cat base.pack usr/bin/env > env
"""


@click.command("cat", help=_HELP)
@click.argument("pack_path", metavar="FILE", type=PACK)
@click.argument("path")
def command(pack_path: Path, path: str) -> None:
    from overlayfs_py.packs.items import content, find
    from overlayfs_py.packs.pack import Pack

    with Pack(os.fsencode(pack_path)) as pack:
        item = find(pack, components(path), follow=True)
        shown = b"/" + b"/".join(item.path)
        if item.inode is None:
            raise FileNotFoundError(errno.ENOENT, "this layer deletes it", shown)
        if item.type == stat.S_IFDIR:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), shown)
        if item.type != stat.S_IFREG:
            raise OSError(errno.EINVAL, "not a regular file", shown)
        out = sys.stdout.buffer
        for piece in content(pack, item.inode):
            out.write(piece)
        out.flush()
