"""`overlayfs-py commit`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.container_arguments import CONTAINER
from overlayfs_py.cli.source_date import created_ns, source_date_ns
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.store import Store
    from overlayfs_py.transfer.commit import Base

_HELP = """Make an image of a container: its image, and one layer of what it has changed.

The new image's ID is printed. Only the changes are read, however large the image is, and the same
changes give the same layer. With SOURCE_DATE_EPOCH set, times that the container made are not later
than that. What volumes hold is not in it. Processes of a running container stand still meanwhile.

\b
Examples:
  overlayfs-py commit web web:patched
  overlayfs-py commit -m 'With curl' -c 'CMD ["curl"]' work tools:1
"""


@click.command("commit", help=_HELP)
@root_option
@click.option("-a", "--author", default="", help="Who made it.")
@click.option(
    "-c", "--change", "changes", multiple=True, help="An instruction of a Dockerfile: CMD, ENV, ..."
)
@click.option("-m", "--message", default="", help="What the image's history says.")
@click.option(
    "-p", "--pause/--no-pause", default=True, help="Let its processes stand still.  [default: yes]"
)
@click.argument("container", type=CONTAINER)
@click.argument("name", required=False, metavar="[REPOSITORY[:TAG]]", type=IMAGE)
def command(
    root: Path | None,
    author: str,
    changes: tuple[str, ...],
    message: str,
    container: str,
    name: str | None,
    *,
    pause: bool,
) -> None:
    from overlayfs_py.cli.whole_images import have_whole_layers
    from overlayfs_py.containers import life
    from overlayfs_py.containers.changed_layer import pack_changes
    from overlayfs_py.containers.changes import open_files
    from overlayfs_py.containers.committing import run_config
    from overlayfs_py.image.reference import parse_reference, require_tag_name
    from overlayfs_py.transfer.commit import CommitOptions, commit
    from overlayfs_py.transfer.config_changes import apply_changes

    references = [] if name is None else [parse_reference(name).with_default_tag()]
    for reference in references:
        require_tag_name(reference)  # before anything is read
    store = open_store(root)
    record = store.containers.get(container)
    have_whole_layers(store, record)
    base = _base(store, record)
    run = apply_changes(run_config(base.config.run, record), changes)
    options = CommitOptions(run, created_ns(), " ".join(record.command), author, message)
    latest_ns = source_date_ns()
    standing = life.held(store, record) if pause else nullcontext()
    with standing, open_files(store, record) as files:
        image = commit(
            store,
            base,
            lambda writer: pack_changes(files, writer, latest_ns),
            options,
            references,
        )
    click.echo(image.image_id)


def _base(store: Store, record: ContainerRecord) -> Base:
    """The container's image, which may have lost its names meanwhile."""
    from overlayfs_py.image.config import parse_config
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.manifest import parse_image_manifest
    from overlayfs_py.image.media_types import OCI_MANIFEST
    from overlayfs_py.transfer.commit import Base

    config, manifest = Digest(record.image_id), Digest(record.manifest)
    raw = store.read_blob(manifest)
    media_type = json.loads(raw).get("mediaType") or OCI_MANIFEST  # only OCI's may leave it out
    return Base(
        parse_image_manifest(raw, media_type, manifest),
        parse_config(store.read_blob(config), config),
    )
