"""`overlayfs-py image files`."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.object_types import type_name
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.containers.image_files import ImageFile, ImageFiles
    from overlayfs_py.image.go_json import Json

_HELP = """List the files of an image, all or those below PATH, without mounting it.

\b
--json prints an object per line: path, type, mode, uid, gid, size, mtime_ns, layer (the diff ID
of the topmost layer that has it), target of a symbolic link, device numbers. Bytes that are no
UTF-8 are lone surrogates, as Python reads them.

\b
Examples:
  overlayfs-py image files debian:12 /etc
  overlayfs-py image files -l debian:12 /usr/bin
  overlayfs-py image files --json debian:12
"""


@click.command("files", help=_HELP)
@root_option
@click.option("-l", "--long", "is_long", is_flag=True, help="With mode, owner, size and layer.")
@click.option("--json", "as_json", is_flag=True, help="For programs: an object per line.")
@click.argument("image", type=IMAGE)
@click.argument("path", default="/")
def command(root: Path | None, image: str, path: str, *, is_long: bool, as_json: bool) -> None:
    from overlayfs_py.containers.image_files import ImageFiles, components

    _, layers = open_store(root, to_find=image).use_image(image)
    with layers, ImageFiles(layers.layers) as files:
        start = components(os.fsencode(path))
        if start:
            start = files.find(start).path  # where links on the way lead to
        for file in files.walk(start):
            click.echo(_line(files, file, is_long=is_long, as_json=as_json))


def _line(files: ImageFiles, file: ImageFile, *, is_long: bool, as_json: bool) -> str:
    from overlayfs_py.containers.image_files import shown
    from overlayfs_py.image.listing import short_id

    if as_json:
        return json.dumps(described(files, file))
    if not is_long:
        return for_terminal(shown(file.path))
    found = file.attributes
    arrow = ""
    if stat.S_ISLNK(found.mode):
        arrow = " -> " + for_terminal(files.read_link(file))
    owner = f"{found.uid}:{found.gid}"
    layer = "" if file.layer is None else short_id(file.layer)
    facts = f"{stat.filemode(found.mode)} {owner:>9} {found.size:>10} {layer} "
    return facts + for_terminal(shown(file.path)) + arrow


def described(files: ImageFiles, file: ImageFile) -> dict[str, Json]:
    """A file of an image, for programs."""
    from overlayfs_py.containers.image_files import shown

    found = file.attributes
    kind = stat.S_IFMT(found.mode)
    facts: dict[str, Json] = {
        "path": os.fsdecode(shown(file.path)),
        "type": type_name(kind),
        "mode": f"{stat.S_IMODE(found.mode):04o}",
        "uid": found.uid,
        "gid": found.gid,
        "size": found.size if kind == stat.S_IFREG else None,
        "mtime_ns": found.mtime_ns,
        "layer": file.layer,
        "target": os.fsdecode(files.read_link(file)) if kind == stat.S_IFLNK else None,
        "device": (
            f"{os.major(found.rdev)}:{os.minor(found.rdev)}"
            if kind in {stat.S_IFCHR, stat.S_IFBLK}
            else None
        ),
    }
    return {name: value for name, value in facts.items() if value is not None}
