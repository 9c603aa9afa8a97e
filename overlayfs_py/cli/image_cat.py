"""`overlayfs-py image cat`."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Print a file of an image, without mounting it. Symbolic links stay inside the image.

\b
Examples:
  overlayfs-py image cat debian:12 /etc/os-release
  overlayfs-py image cat debian:12 usr/bin/env > env
"""


@click.command("cat", help=_HELP)
@root_option
@click.argument("image", type=IMAGE)
@click.argument("path")
def command(root: Path | None, image: str, path: str) -> None:
    from overlayfs_py.containers.image_files import ImageFiles, components, shown

    _, layers = open_store(root, to_find=image).use_image(image)
    with layers, ImageFiles(layers.layers) as files:
        file = files.find(components(os.fsencode(path)), follow=True)
        if stat.S_ISDIR(file.attributes.mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), shown(file.path))
        if not stat.S_ISREG(file.attributes.mode):
            raise OSError(errno.EINVAL, "not a regular file", shown(file.path))
        out = sys.stdout.buffer
        for piece in files.content(file):
            out.write(piece)
        out.flush()
