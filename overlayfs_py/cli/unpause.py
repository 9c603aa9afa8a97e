"""`overlayfs-py unpause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, for_each
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Let the processes of paused containers go on.

\b
Examples:
  overlayfs-py unpause web
"""


@click.command("unpause", help=_HELP)
@root_option
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(root: Path | None, containers: tuple[str, ...]) -> int:
    from overlayfs_py.containers import life

    store = open_store(root)
    return for_each(store, containers, lambda record: life.unpause(store, record))
