"""`overlayfs-py kill`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, for_each
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path


_HELP = """Send a signal to the first process of containers.

\b
Examples:
  overlayfs-py kill web
  overlayfs-py kill -s HUP web
"""


@click.command("kill", help=_HELP)
@root_option
@click.option("-s", "--signal", "signal_name", default="KILL", show_default=True, metavar="SIGNAL",
              help="By name or number.")  # fmt: skip
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(root: Path | None, containers: tuple[str, ...], signal_name: str) -> int:
    from overlayfs_py.cli.signal_arguments import signal_of
    from overlayfs_py.containers import life

    store, number = open_store(root), signal_of(signal_name)
    return for_each(store, containers, lambda record: life.kill(store, record, number))
