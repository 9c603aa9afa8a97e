"""`overlayfs-py diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.difference_output import as_json, as_line
from overlayfs_py.cli.image_files import described
from overlayfs_py.cli.store_arguments import open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.containers.changes import Change, ContainerFiles
    from overlayfs_py.containers.image_files import ImageFile, ImageFiles

_HELP = """Say what a container has changed of its image: A is added, C changed, D deleted.

A directory in which something differs is changed, too. Only what the container wrote is looked
at, whether it runs or not: how large the image is does not matter. What volumes hold is not the
container's.

\b
Examples:
  overlayfs-py diff web
  overlayfs-py diff --json web
"""


@click.command("diff", help=_HELP)
@root_option
@click.option("--json", "is_json", is_flag=True, help="For programs: an object per line.")
@click.argument("container", type=CONTAINER)
def command(root: Path | None, container: str, *, is_json: bool) -> None:
    from overlayfs_py.containers.changes import open_files

    store = open_store(root)
    record = store.containers.get(container)
    with open_files(store, record) as files:
        for change in files.differences():
            click.echo(_json(change, files) if is_json else _line(change))


def _line(change: Change) -> str:
    from overlayfs_py.containers.image_files import shown

    return as_line(change.kind, shown(change.path), ())


def _json(change: Change, files: ContainerFiles) -> str:
    before = _described(files.before, change.before)
    after = _described(files.after, change.after)
    return as_json(change.kind, (), before, after)


def _described(files: ImageFiles, file: ImageFile | None) -> object:
    return None if file is None else described(files, file)
