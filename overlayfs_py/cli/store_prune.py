"""`overlayfs-py store prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Delete what no image needs: layers, unfinished downloads, what killed commands left.

Of snapshots, too, what no container has any more.

What `store fsck --repair` put into quarantine goes, too. No image goes; see `image prune`.

\b
Examples:
  overlayfs-py store prune
"""


@click.command("prune", help=_HELP)
@root_option
def command(root: Path | None) -> None:
    from overlayfs_py.containers import snapshots
    from overlayfs_py.image.units import human_size

    store = open_store(root)
    freed = snapshots.collect(store) + store.collect().freed_bytes
    click.echo(f"Total reclaimed space: {human_size(freed)}")
