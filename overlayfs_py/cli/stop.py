"""`overlayfs-py stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, for_each
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord

_HELP = """Ask containers to end, and kill those that do not in time.

One that does not run is stopped already.

\b
Examples:
  overlayfs-py stop web
  overlayfs-py stop -t 60 db
"""


@click.command("stop", help=_HELP)
@root_option
@click.option(
    "-t",
    "--time",
    "--timeout",
    "timeout",
    type=int,
    metavar="SECONDS",
    help="How long to wait before it is killed; -1: for ever.  [default: 10]",
)
@click.option("-s", "--signal", "signal_name", metavar="SIGNAL", help="What to send.")
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(
    root: Path | None, containers: tuple[str, ...], timeout: int | None, signal_name: str | None
) -> int:
    from overlayfs_py.cli.signal_arguments import signal_of
    from overlayfs_py.containers import life

    store = open_store(root)

    def stop(record: ContainerRecord) -> None:
        life.stop(store, record, signal_of(signal_name or record.stop_signal), timeout)

    return for_each(store, containers, stop)
