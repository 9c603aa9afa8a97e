"""`overlayfs-py trace`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

import click

from overlayfs_py.cli.arguments import PATH
from overlayfs_py.cli.source_date import created_ns
from overlayfs_py.cli.store_arguments import IMAGE, open_store, root_option
from overlayfs_py.errors import Failure
from overlayfs_py.image.digest import Digest
from overlayfs_py.terminal_text import for_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from overlayfs_py.drivers.written_uses import ReadUses
    from overlayfs_py.store.containers import ContainerRecord
    from overlayfs_py.store.images import StoredImage
    from overlayfs_py.store.layers import LayersInUse
    from overlayfs_py.store.store import Store
    from overlayfs_py.store.stored_layer import StoredLayer

_HELP = """List which files of its image a container has used, in the order of their first use.

Of a container that runs: so far; of one that has ended: in all its runs. A name with a slash is
that of a mount, or of a FILE that `run --trace FILE` has written. Kinds of use: look (stat, open,
exec), read (data), link (followed), list (directories). What a listing has told, the kernel need
not look up: `run --trace FILE` leaves that out, so that no look is missed, and writes the same to
FILE, as JSON, when the container ends.

\b
Examples:
  overlayfs-py trace web
  overlayfs-py trace --json ./mnt
  overlayfs-py run --trace used.json --name one debian:12 perl -e 1
  overlayfs-py trace one --slim debian:perl
  overlayfs-py trace ./used.json --slim debian:perl --of debian:12
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
@click.option(
    "--of", "image", metavar="IMAGE", type=IMAGE, help="What a mount, or a FILE's container, is of."
)
@click.argument("name", metavar="CONTAINER|MNT|FILE", type=PATH)
def command(
    root: Path | None, name: str, slim: str | None, image: str | None, *, as_json: bool
) -> None:
    if "/" in name:
        read = _of_file(name) if os.path.isfile(name) else _of_mount(name)
        if slim is None:
            _show(read, as_json=as_json)
        elif image is None:
            raise Failure(f"--slim: {name}: --of IMAGE has to say what it is of")
        else:
            _make_slim_of_image(open_store(root), image, name, read, slim)
        return
    if image is not None:
        raise Failure(f"--of: {name} is a container, which has an image")
    from overlayfs_py.cli.container_arguments import container_of

    store = open_store(root)
    record = container_of(store, name)
    if slim is None:
        _show(_of_image(store, record, _of_container(store, record)), as_json=as_json)
    else:
        read = _of_container(store, record)
        with store.containers.use_layers(record) as layers:
            source = _Source(record.name, record.image, Digest(record.image_id), layers)
            _make_slim(store, source, read, slim)


class _Source(NamedTuple):
    """What has used an image."""

    name: str
    image: str  # as it was named
    image_id: Digest
    layers: LayersInUse


def _make_slim_of_image(store: Store, image: str, name: str, read: ReadUses, slim: str) -> None:
    found, layers = store.use_image(image)
    with layers:
        _make_slim(store, _Source(name, image, found.image_id, layers), read, slim)


def _of_file(path: str) -> ReadUses:
    from overlayfs_py.drivers.written_uses import read_lines

    with open(path, "rb") as lines:
        return read_lines(lines)


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


def _make_slim(store: Store, source: _Source, read: ReadUses, name: str) -> None:
    from overlayfs_py.containers.image_files import ImageFiles
    from overlayfs_py.containers.slimming import pack_used
    from overlayfs_py.image.config import parse_config
    from overlayfs_py.image.reference import parse_reference, require_tag_name
    from overlayfs_py.transfer.import_ import ImportOptions, import_packed

    reference = parse_reference(name).with_default_tag()
    require_tag_name(reference)  # before anything is read
    if not read.uses:
        raise Failure(f"{source.name}: it has used nothing of its image yet")
    config = parse_config(store.read_blob(source.image_id), source.image_id)
    options = ImportOptions(
        config.platform,
        created_ns(),
        source.image,
        f"What {source.name} has used of {source.image}",
        config.run,
    )
    with ImageFiles(source.layers.layers) as files:
        slim = import_packed(
            store,
            lambda writer: pack_used(files, read.uses, writer, exact=read.exact),
            options,
            [reference],
        )
        _say_sizes(source.layers.layers, slim)
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
