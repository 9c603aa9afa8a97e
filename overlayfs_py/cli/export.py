"""`overlayfs-py export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.layer_arguments import OUTPUT
from overlayfs_py.cli.outputs import output_file
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

_HELP = """Write all files of a container as a tar, whether it runs or not.

What volumes hold is not in it. The same files give the same tar. A file appears whole, or not
at all.

\b
Examples:
  overlayfs-py export -o root.tar web
  overlayfs-py export web | tar -C root -x
"""


@click.command("export", help=_HELP)
@root_option
@click.option("-o", "--output", type=OUTPUT, default="-", help="The tar.  [default: stdout]")
@click.argument("container", type=CONTAINER)
def command(root: Path | None, output: Path, container: str) -> None:
    from overlayfs_py.containers.changes import open_files
    from overlayfs_py.containers.exported import write_tar

    store = open_store(root)
    record = store.containers.get(container)
    with output_file(output) as out, open_files(store, record) as files:
        write_tar(files.after, out.write)
