"""`overlayfs-py import`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.arguments import PATH
from overlayfs_py.cli.source_date import created_ns
from overlayfs_py.cli.store_arguments import IMAGE, layers_option, open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from overlayfs_py.image.platform import Platform

_HELP = """Make an image of one layer from a root filesystem.

SOURCE is a tar, compressed or not, or a directory; `-` is a tar on stdin. The image's ID is
printed. With SOURCE_DATE_EPOCH set, the same SOURCE gives the same image.

\b
Examples:
  overlayfs-py import rootfs.tar.xz debian:mine
  overlayfs-py import -c 'CMD ["/bin/bash"]' -c 'ENV LANG=C.UTF-8' /srv/root debian:mine
  tar -C root -c . | overlayfs-py import - test
"""


@click.command("import", help=_HELP)
@root_option
@click.option(
    "-c", "--change", "changes", multiple=True, help="An instruction of a Dockerfile: CMD, ENV, ..."
)
@click.option("-m", "--message", default="", help="What the image's history says.")
@click.option("--platform", help="What it runs on, as linux/arm64.  [default: this machine]")
@layers_option
@click.argument("source", type=PATH)
@click.argument("name", required=False, metavar="[REPOSITORY[:TAG]]", type=IMAGE)
def command(
    root: Path | None,
    source: str,
    name: str | None,
    changes: tuple[str, ...],
    message: str,
    platform: str | None,
    form: str,
) -> None:
    from overlayfs_py.image.config import RunConfig
    from overlayfs_py.image.reference import parse_reference
    from overlayfs_py.store.records import Form
    from overlayfs_py.transfer.archive import read_blocks
    from overlayfs_py.transfer.config_changes import apply_changes
    from overlayfs_py.transfer.import_ import ImportOptions, import_directory, import_tar

    if source == "-" and sys.stdin.isatty():
        raise Failure("stdin: a terminal; name a tar or a directory")
    references = [] if name is None else [parse_reference(name).with_default_tag()]
    options = ImportOptions(
        _platform(platform),
        created_ns(),
        source,
        message,
        apply_changes(RunConfig(), changes),
        Form(form),
    )
    store = open_store(root, create=True)
    if source != "-" and os.path.isdir(source):
        image = import_directory(store, os.fsencode(source), options, references)
    else:
        with _open(source) as file:
            image = import_tar(store, read_blocks(file), options, references)
    click.echo(image.image_id)


def _open(source: str) -> BinaryIO:
    if source == "-":
        return open(0, "rb", buffering=0, closefd=False)
    return open(source, "rb", buffering=0)


def _platform(text: str | None) -> Platform:
    from overlayfs_py.image.platform import machine_platform, parse_platform

    return machine_platform(os.uname().machine) if text is None else parse_platform(text)
