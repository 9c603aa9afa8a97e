"""`overlayfs-py snapshot take`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Keep a container's files as they are now; prints the tag, the next number without one.

One that runs goes on, with all that it has open: what it has written by now is kept, also by
mmap(2), what it writes from now on is not. Volumes are not kept. `restore` goes back to it,
`branch` makes a second container of it.

\b
Examples:
  overlayfs-py snapshot db
  overlayfs-py snapshot db migrated
"""


@click.command("take", help=_HELP)
@root_option
@click.argument("container", type=CONTAINER)
@click.argument("tag", required=False)
def command(root: Path | None, container: str, tag: str | None) -> None:
    from overlayfs_py.containers import snapshots

    store = open_store(root)
    click.echo(snapshots.snapshot(store, container_of(store, container), tag))
