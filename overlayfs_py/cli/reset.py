"""`overlayfs-py reset`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, for_each
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path


_HELP = """Throw away what running containers have changed of their image's files.

They go on running. Files that they have open and that were made or changed are gone for them
("stale file handle"); files of the image that were not changed, volumes, and what is mounted
inside stay as they are.

\b
Examples:
  overlayfs-py reset db
  overlayfs-py reset $(overlayfs-py ps -q)
"""


@click.command("reset", help=_HELP)
@root_option
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(root: Path | None, containers: tuple[str, ...]) -> int:
    from overlayfs_py.containers import life

    store = open_store(root)
    return for_each(store, containers, lambda record: life.reset(store, record))
