"""`overlayfs-py start`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import (
    CONTAINER,
    detach_keys_option,
    for_each,
    parsed_keys,
)
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.mounts.daemon import open_descriptors

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord

_HELP = """Start containers that do not run.

What they wrote before is still there.

\b
Examples:
  overlayfs-py start web db
  overlayfs-py start -ai work
"""


@click.command("start", help=_HELP)
@root_option
@click.option("-a", "--attach", "attached", is_flag=True, help="Show what it writes; pass signals.")
@click.option("-i", "--interactive", is_flag=True, help="Give it stdin, too.")
@detach_keys_option
@click.argument("containers", nargs=-1, required=True, type=CONTAINER)
def command(
    root: Path | None,
    containers: tuple[str, ...],
    keys: str,
    *,
    attached: bool,
    interactive: bool,
) -> int:
    from overlayfs_py.cli import foreground

    detach_keys = parsed_keys(keys)
    callers_fds = open_descriptors()
    store = open_store(root)
    if attached or interactive:
        if len(containers) > 1:
            raise click.UsageError("you cannot start and attach several containers at once")
        record = store.containers.get(containers[0])
        streams = {*([0] if interactive else []), 1, 2}
        return foreground.run(store, record, callers_fds, streams=streams, keys=detach_keys)

    def start(record: ContainerRecord) -> None:
        if not store.containers.is_running(record):  # docker: then there is nothing to do
            foreground.start_detached(store, record, callers_fds)

    return for_each(store, containers, start)
