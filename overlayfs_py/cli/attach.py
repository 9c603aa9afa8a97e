"""`overlayfs-py attach`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, detach_keys_option, parsed_keys
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Show what a running container writes from now on, and give it stdin and signals.

Ends with the container, with its exit code. ^P^Q, or --detach-keys, leaves a container with
a terminal alone.

\b
Examples:
  overlayfs-py attach work
"""


@click.command("attach", help=_HELP)
@root_option
@click.option("--no-stdin", is_flag=True, help="Keep stdin.")
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on to it.")
@detach_keys_option
@click.argument("container", type=CONTAINER)
def command(
    root: Path | None, container: str, keys: str, *, no_stdin: bool, sig_proxy: bool
) -> int:
    from overlayfs_py.cli import foreground

    detach_keys = parsed_keys(keys)
    store = open_store(root)
    record = store.containers.get(container)
    return foreground.attach(
        store, record, stdin=not no_stdin, passes_signals=sig_proxy, keys=detach_keys
    )
