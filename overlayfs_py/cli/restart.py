"""`overlayfs-py restart`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import for_each
from overlayfs_py.cli.signal_arguments import stop_options, stop_signal
from overlayfs_py.cli.store_arguments import open_store
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
@stop_options
def command(
    root: Path | None, containers: tuple[str, ...], timeout: int | None, signal_name: str | None
) -> int:
    from overlayfs_py.cli import foreground
    from overlayfs_py.containers import life
    from overlayfs_py.containers.state import NotRunning

    callers_fds = open_descriptors()
    store = open_store(root)

    def restart(record: ContainerRecord) -> None:
        try:
            life.restart(store, record, stop_signal(signal_name, record), timeout)
        except NotRunning:
            store.containers.wait_until_free(record)
            foreground.start_detached(store, record, callers_fds)

    return for_each(store, containers, restart)
