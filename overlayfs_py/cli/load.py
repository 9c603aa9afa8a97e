"""`overlayfs-py load`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overlayfs_py.cli.arguments import PATH
from overlayfs_py.cli.platforms import warn_of_platform
from overlayfs_py.cli.store_arguments import layers_option, open_store, root_option
from overlayfs_py.errors import Failure

if TYPE_CHECKING:
    from typing import BinaryIO

_HELP = """Load images from an archive, under the names that it gives them.

The archive is what `docker save`, `podman save`, `skopeo copy` or `save` wrote: Docker's or OCI's,
a tar, compressed or not, or an unpacked OCI layout. It is read once, so a pipe will do.

\b
Examples:
  overlayfs-py load -i debian.tar
  docker save debian:12 | overlayfs-py load
  overlayfs-py load -i layout/
"""


@click.command("load", help=_HELP)
@root_option
@click.option("-i", "--input", "source", type=PATH, help="The archive; otherwise stdin.")
@layers_option
@click.option("-q", "--quiet", is_flag=True, help="Print nothing.")
@click.option("--platform", metavar="OS/ARCH[/VARIANT]", help="Of several images, which one.")
def command(
    root: Path | None, source: str | None, form: str, platform: str | None, *, quiet: bool
) -> None:
    from overlayfs_py.image.platform import machine_platform, parse_platform
    from overlayfs_py.store.records import Form
    from overlayfs_py.transfer.archive import read_archive, read_directory
    from overlayfs_py.transfer.load import load

    if source is None and sys.stdin.isatty():
        raise Failure("stdin: a terminal; name an archive with -i")
    store = open_store(root, create=True)
    wanted = machine_platform(os.uname().machine) if platform is None else parse_platform(platform)
    name = source or "stdin"
    if source is not None and os.path.isdir(source):
        loaded = load(store, read_directory(Path(source)), wanted, name, Form(form))
    else:
        with _open(source) as file:
            loaded = load(store, read_archive(file), wanted, name, Form(form))
    if platform is not None:
        for image in loaded:
            warn_of_platform(image.image, wanted)
    for image in () if quiet else loaded:
        for reference in image.references:
            click.echo(f"Loaded image: {reference.familiar}")
        if not image.references:
            click.echo(f"Loaded image ID: {image.image.image_id}")


def _open(source: str | None) -> BinaryIO:
    if source is None:
        return open(0, "rb", buffering=0, closefd=False)
    return open(source, "rb", buffering=0)
