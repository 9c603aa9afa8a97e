"""`overlayfs-py pause`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, for_each
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Stop all processes of containers where they are, until `unpause`.

\b
Examples:
  overlayfs-py pause web
"""


@click.command("pause", help=_HELP)
@root_option
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(root: Path | None, containers: tuple[str, ...]) -> int:
    from overlayfs_py.containers import life

    store = open_store(root)
    return for_each(store, containers, lambda record: life.pause(store, record))
