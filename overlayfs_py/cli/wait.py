"""`overlayfs-py wait`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path


_HELP = """Wait until containers have ended, and print their exit codes.

\b
Examples:
  overlayfs-py wait job
"""


@click.command("wait", help=_HELP)
@root_option
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(root: Path | None, containers: tuple[str, ...]) -> None:
    from overlayfs_py.containers import life

    store = open_store(root)
    for record in [store.containers.get(name) for name in containers]:
        click.echo(life.wait(store, record))
