"""`overlayfs-py restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Have a container's files be those of a snapshot again, while it runs or not.

What was changed since is thrown away, as `reset` throws away all that was changed; processes go on.
Its other snapshots stay, later ones, too. Volumes stay as they are.

\b
Examples:
  overlayfs-py restore db migrated
"""


@click.command("restore", help=_HELP)
@root_option
@click.argument("container", type=CONTAINER)
@click.argument("tag")
def command(root: Path | None, container: str, tag: str) -> None:
    from overlayfs_py.containers import snapshots

    store = open_store(root)
    record = container_of(store, container)
    snapshots.restore(store, record, tag)
    click.echo(record.name)
