"""`overlayfs-py stop`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import for_each
from overlayfs_py.cli.signal_arguments import stop_options, stop_signal
from overlayfs_py.cli.store_arguments import open_store

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
@stop_options
def command(
    root: Path | None, containers: tuple[str, ...], timeout: int | None, signal_name: str | None
) -> int:
    from overlayfs_py.containers import life

    store = open_store(root)

    def stop(record: ContainerRecord) -> None:
        life.stop(store, record, stop_signal(signal_name, record), timeout)

    return for_each(store, containers, stop)
