"""`overlayfs-py rename`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Give a container another name, whether it runs or not.

\b
Examples:
  overlayfs-py rename brave_turing web
"""


@click.command("rename", help=_HELP)
@root_option
@click.argument("container", type=CONTAINER)
@click.argument("name")
def command(root: Path | None, container: str, name: str) -> None:
    from overlayfs_py.containers import creation

    store = open_store(root)
    creation.rename(store, container_of(store, container), name)
