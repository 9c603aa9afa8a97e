"""`overlayfs-py branch`."""

from __future__ import annotations

from pathlib import Path

import click

from overlayfs_py.cli.container_arguments import CONTAINER, container_of
from overlayfs_py.cli.store_arguments import open_store, root_option
from overlayfs_py.mounts.daemon import open_descriptors

_HELP = """Make a second container whose files are those that a container has now, or had.

It has the same options, and its ID is printed. Both share what was written so far, on the disk,
too; from now on each sees its own writes only. Named volumes are shared, anonymous ones are made
anew; processes are not copied.

\b
Examples:
  overlayfs-py branch db db-test
  overlayfs-py branch --start --from migrated db db-test
"""


@click.command("branch", help=_HELP)
@root_option
@click.option("--from", "tag", metavar="TAG", help="Of a snapshot, not of the files as they are.")
@click.option("--cidfile", type=click.Path(path_type=Path), help="Write its ID there.")
@click.option("--start", is_flag=True, help="Start it, too.")
@click.argument("container", type=CONTAINER)
@click.argument("name")
def command(
    root: Path | None,
    container: str,
    name: str,
    tag: str | None,
    cidfile: Path | None,
    *,
    start: bool,
) -> None:
    from overlayfs_py.containers import snapshots

    callers_fds = open_descriptors()
    store = open_store(root)
    made = snapshots.branch(store, container_of(store, container), name, tag)
    if cidfile is not None:
        cidfile.write_text(made.id)
    if start:
        from overlayfs_py.cli import foreground

        foreground.start_detached(store, made, callers_fds)
    click.echo(made.id)
