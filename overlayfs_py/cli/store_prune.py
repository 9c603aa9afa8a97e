"""`overlayfs-py store prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Delete what no image needs: layers, unfinished downloads, what killed commands left.

What `store fsck --repair` put into quarantine goes, too. No image goes; see `image prune`.

\b
Examples:
  overlayfs-py store prune
"""


@click.command("prune", help=_HELP)
@root_option
def command(root: Path | None) -> None:
    from overlayfs_py.image.units import human_size

    removal = open_store(root).collect()
    click.echo(f"Total reclaimed space: {human_size(removal.freed_bytes)}")
