"""`overlayfs-py restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, for_each
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.mounts.daemon import open_descriptors

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord

_HELP = """Stop containers as `stop` does, and start them again.

One that does not run is started. What a container wrote stays, and so does one of `run --rm`.

\b
Examples:
  overlayfs-py restart web
  overlayfs-py restart -t 60 db
"""


@click.command("restart", help=_HELP)
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
    from overlayfs_py.cli import foreground
    from overlayfs_py.cli.signal_arguments import signal_of
    from overlayfs_py.containers import life
    from overlayfs_py.containers.state import NotRunning

    callers_fds = open_descriptors()
    store = open_store(root)

    def restart(record: ContainerRecord) -> None:
        try:
            life.restart(store, record, signal_of(signal_name or record.stop_signal), timeout)
        except NotRunning:
            store.containers.wait_until_free(record)
            foreground.start_detached(store, record, callers_fds)

    return for_each(store, containers, restart)
