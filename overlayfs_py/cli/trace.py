"""`overlayfs-py trace`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.arguments import PATH
from overlayfs_py.cli.source_date import created_ns
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import Failure
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.drivers.written_uses import ReadUses
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import StoredLayer
    from overlayfs_py.store.store import Store

_HELP = """List which files of its image a container has used, in the order of their first use.

Of a container that runs: so far; of one that has ended: in all its runs. A name with a slash is
that of a mount. Kinds of use: look (stat, open, exec), read (data), link (followed), list
(directories). What a listing has told, the kernel need not look up: `run --trace FILE` leaves that
out, so that no look is missed, and writes the same to FILE, as JSON, when the container ends.

\b
Examples:
  overlayfs-py trace web
  overlayfs-py trace --json ./mnt
  overlayfs-py run --trace used.json --name one debian:12 perl -e 1
  overlayfs-py trace one --slim debian:perl
"""


@click.command("trace", help=_HELP)
@root_option
@click.option("--json", "as_json", is_flag=True, help="An object of JSON in each line.")
@click.option(
    "--slim",
    metavar="NEWIMAGE",
    type=IMAGE,
    help="Make an image of only those files and what they need; print its ID, and sizes to stderr.",
)
@click.argument("name", metavar="CONTAINER|MNT", type=PATH)
def command(root: Path | None, name: str, slim: str | None, *, as_json: bool) -> None:
    if "/" in name:
        if slim is not None:
            raise Failure(f"--slim: {name} is a mount; it takes a container, which has an image")
        _show(_of_mount(name), as_json=as_json)
        return
    from overlayfs_py.cli.container_arguments import container_of

    store = open_store(root)
    record = container_of(store, name)
    if slim is None:
        _show(_of_image(store, record, _of_container(store, record)), as_json=as_json)
    else:
        _make_slim(store, record, _of_container(store, record), slim)


def _of_mount(target: str) -> ReadUses:
    from overlayfs_py.drivers.written_uses import read_lines
    from overlayfs_py.mounts import inquiring

    sock = inquiring.connect_to_mount(os.fsencode(target))
    return read_lines(inquiring.ask(sock, {"ask": "uses"}))


def _of_container(store: Store, record: ContainerRecord) -> ReadUses:
    from overlayfs_py.containers import recorded_uses
    from overlayfs_py.drivers.written_uses import read_lines

    directory = store.containers.directory(record.id)
    runs = store.containers.is_running(record)
    return read_lines(recorded_uses.lines(directory, record.name, runs=runs))


def _of_image(store: Store, record: ContainerRecord, read: ReadUses) -> ReadUses:
    """Leave out what the image does not have: /etc/hosts and its like, places of volumes."""
    from overlayfs_py.containers.image_files import ImageFiles
    from overlayfs_py.containers.slimming import used_files

    with store.containers.use_layers(record) as layers, ImageFiles(layers.layers) as files:
        return read._replace(uses=[use for use, _ in used_files(files, read.uses)])


def _show(read: ReadUses, *, as_json: bool) -> None:
    for use in read.uses:
        path = os.fsdecode(use.path)
        if as_json:
            told = {"path": path, "kinds": sorted(use.kinds), "exact": read.exact}
            click.echo(json.dumps(told))
        else:
            click.echo(f"{','.join(sorted(use.kinds)):<10} {for_terminal(path)}")


def _make_slim(store: Store, record: ContainerRecord, read: ReadUses, name: str) -> None:
    from overlayfs_py.containers.image_files import ImageFiles
    from overlayfs_py.containers.slimming import pack_used
    from overlayfs_py.image.config import parse_config
    from overlayfs_py.image.digest import Digest
    from overlayfs_py.image.reference import parse_reference, require_tag_name
    from overlayfs_py.transfer.import_ import ImportOptions, import_packed

    reference = parse_reference(name).with_default_tag()
    require_tag_name(reference)  # before anything is read
    if not read.uses:
        raise Failure(f"{record.name}: it has used nothing of its image yet")
    image_id = Digest(record.image_id)
    config = parse_config(store.read_blob(image_id), image_id)
    options = ImportOptions(
        config.platform,
        created_ns(),
        record.image,
        f"What {record.name} has used of {record.image}",
        config.run,
    )
    with store.containers.use_layers(record) as layers, ImageFiles(layers.layers) as files:
        slim = import_packed(
            store,
            lambda writer: pack_used(files, read.uses, writer, exact=read.exact),
            options,
            [reference],
        )
        _say_sizes(layers.layers, slim)
    if not read.exact and any("list" in use.kinds for use in read.uses):
        click.echo(
            "overlayfs-py: files of listed directories are in it, used or not (run --trace knows)",
            err=True,
        )
    click.echo(slim.image_id)


def _say_sizes(before: tuple[StoredLayer, ...], slim: StoredImage) -> None:
    from overlayfs_py.image.units import human_size

    sizes = [sum(layer.record.tar_size for layer in layers) for layers in (before, slim.layers)]
    click.echo(
        f"before: {sizes[0]} bytes ({human_size(sizes[0])}),"
        f" after: {sizes[1]} bytes ({human_size(sizes[1])})",
        err=True,
    )
