"""`overlayfs-py rm`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, for_each
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord

_HELP = """Remove containers, with all that they wrote.

Volumes stay, but for anonymous ones with -v.

One that runs is removed only with --force, which kills it.

\b
Examples:
  overlayfs-py rm web
  overlayfs-py rm -fv $(overlayfs-py ps -aq)
"""


@click.command("rm", help=_HELP)
@root_option
@click.option("-f", "--force", is_flag=True, help="Kill what runs; fine if it is not there.")
@click.option("-v", "--volumes", "with_volumes", is_flag=True, help="Its anonymous volumes, too.")
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(
    root: Path | None, containers: tuple[str, ...], *, force: bool, with_volumes: bool
) -> int:
    from overlayfs_py.containers import life

    store = open_store(root)

    def remove(record: ContainerRecord) -> None:
        if force:
            life.stop(store, record, signal.SIGKILL, 0)
        life.remove(store, record, with_volumes=with_volumes)

    return for_each(store, containers, remove, force=force)
