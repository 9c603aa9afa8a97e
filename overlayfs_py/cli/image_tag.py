"""`overlayfs-py image tag`, also `tag`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Give an image one more name. The name may be another image's: it then changes hands.

\b
Examples:
  overlayfs-py tag debian:12 localhost:5000/team/base:1
  overlayfs-py image tag 1f2e3d4c5b6a app
"""


@click.command("tag", help=_HELP)
@root_option
@click.argument("image", type=IMAGE)
@click.argument("name", type=IMAGE)
def command(root: Path | None, image: str, name: str) -> None:
    from overlayfs_py.image.reference import parse_reference

    open_store(root, to_find=image).tag(image, parse_reference(name))
